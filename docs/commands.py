"""The parser of all commands at once, for the page of the command line."""

from argparse import ArgumentParser

from ase_vibent.cli import COMMANDS, build_parser


def parser() -> ArgumentParser:
    """Every command with its arguments."""
    return build_parser(*COMMANDS)
