"""`novella doctor`: does everything fit together? And, when asked, healing what is safe to heal."""
