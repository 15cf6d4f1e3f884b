"""Is somebody harmed more than others? Groups of patients as they are recorded, slices that nobody named, features."""
