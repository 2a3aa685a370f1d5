"""What a study is made of, its files, its methods section, and what there is of its datasets."""
