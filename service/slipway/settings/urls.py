"""What is wrong with the URLs of servers, before anything connects."""

from __future__ import annotations

from slipway.settings import Settings
from slipway.urls.database_url import keywords_of_url
from slipway.urls.mail_url import read_mail_url
from slipway.urls.redis_url import address_of
from slipway.urls.server_url import UrlError

READERS = {"database_url": keywords_of_url, "redis_url": address_of, "smtp_url": read_mail_url}


def url_faults(settings: Settings) -> list[str]:
    """A sentence for each URL that isn't understood or asks for what isn't done; never with a part of the URL."""
    faults = []
    for name, read in READERS.items():
        url = getattr(settings, name)
        try:
            if url is not None:
                read(url.get_secret_value())
        except UrlError as error:
            faults.append(f"SLIPWAY_{name.upper()} {error}.")
    return faults
