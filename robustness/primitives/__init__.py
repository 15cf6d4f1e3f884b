"""What is a perturbation made of? Operations that run wherever a film lies.

Each stands here once, in torch; where the film lies on the CPU, OpenCV, numpy or stringzilla take over what they do
several times as fast. Both agree to a grey level (most to the last bit of a float). Perturbations are written in these
operations and know no device. What is found on the CPU wherever a film lies stands in `robustness.facts`.
"""
