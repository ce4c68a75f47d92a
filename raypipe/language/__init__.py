"""Sentences as text: clauses, verbs, questions, meanings, and answers of vision-language models."""
