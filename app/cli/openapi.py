"""`mumic openapi`."""

import sys

from app.cli.settings import read_settings


def openapi_command() -> None:
    """Print the server's OpenAPI document as YAML."""
    import yaml

    from app.main import create_app, load_classifier

    settings = read_settings()
    document = create_app(settings, load_classifier(settings)).openapi()
    sys.stdout.write(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100))
