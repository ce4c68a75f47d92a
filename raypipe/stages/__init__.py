"""The steps one segment goes through, each a plain callable class."""
