"""Drawings of builds, layers, networks and statistics: SVG that needs neither style sheets nor scripts."""
