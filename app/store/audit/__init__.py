"""What `novella doctor` asks of the database: rows that break an invariant, and their healing.

Reading is one consistent moment; each healing looks again under the locks that all writers take.
"""
