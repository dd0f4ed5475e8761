"""Many jobs: checked before they start, launched, shown while they run, finished."""
