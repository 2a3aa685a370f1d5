"""Trained weights of networks: those of others, by name, and how they are downloaded; and the file
format of those that are trained here.
"""
