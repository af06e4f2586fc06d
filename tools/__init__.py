"""What ``./dev`` runs: set-up, checks, test runs, the demo. No part of the installed package."""
