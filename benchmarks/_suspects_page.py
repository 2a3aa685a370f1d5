"""The page of the verdict's benchmark."""


def write_suspects_page(rows, path):
    pass
