"""Preparation: data sets are downloaded, unpacked, converted, checked and measured."""
