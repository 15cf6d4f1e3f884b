"""What did attacks find on a subject? Film by film, kept in the cache as they finish.

access.py        what an adversary gets hold of: the network's input or the whole film, gradients or answers only
protocols.py     which films are attacked and how hard, by profile
job.py           one attack on one subject, resumed from the cache
stored.py        a record as a row of the cache
side_by_side.py  threat models and attacks on the same films
universal.py     one pattern for all films
transfer.py      films made against one subject, shown to the others
"""

from suites.harness.endpoints.adversarial.runs.attack import Attack, attack, finished

__all__ = ["Attack", "attack", "finished"]
