"""From frame scores to transcripts: CTC beam search and language models."""
