"""What can be done to a film before the subject sees it: perturbations, attacks, probes, and the phantom."""
