"""Flower's configuration, read when it starts in this folder: reached from this machine only, or with a password."""

from tornado.options import options as given

from eventbus.cli.flower import protect

protect(given)
