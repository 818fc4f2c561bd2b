"""What is hidden: the masks of each modality, of both versions of data2vec."""
