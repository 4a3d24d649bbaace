"""Applications by name: the entry points of group "bftnode.applications", the built-in ones among them.

What is installed is decided by whoever installed the node; the genesis names one of them. docs/applications.md.
"""

from importlib.metadata import entry_points

from bftnode.apps.contract import Application
from bftnode.protocol.errors import Reason, Refused

GROUP = "bftnode.applications"


def installed_applications() -> list[str]:
    """Their names, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load_application(name: str) -> Application:
    """The application that is installed under `name`.

    Raises Refused(CONFIGURATION) for a name that nothing or more than one package claims, and for an entry point
    that does not make an Application. What a package raises while it is imported is passed on: that is its bug.
    """
    found = tuple(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(installed_applications()) or "none"
        raise Refused(Reason.CONFIGURATION, f"no application {name!r} is installed; installed: {known}")
    if len({entry.value for entry in found}) > 1:
        claims = ", ".join(sorted(entry.value for entry in found))
        raise Refused(Reason.CONFIGURATION, f"more than one package calls its application {name!r}: {claims}")
    application = found[0].load()()
    if not isinstance(application, Application):
        raise Refused(Reason.CONFIGURATION, f"the entry point {name!r} does not make an Application")
    return application
