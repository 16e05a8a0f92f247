"""Towers written for engines that need no torch, and compared with the original before they are kept."""
