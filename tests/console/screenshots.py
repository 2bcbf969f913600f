"""The README's pictures of the console, made anew by `make screenshots`: a bus like one at work, in a real browser.

Its numbers are made up, its pages are not.
"""

from contextlib import ExitStack, closing
from pathlib import Path

from playwright.sync_api import Browser

from eventbus.console import create_app
from eventbus.embedded import start_servers
from eventbus.storage.migrations import upgrade
from tests.console.seed import Seed, make_bus, plant
from tests.console.serving import serving
from tests.support.browser import running_browser
from tests.support.rows import Rows

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "images"
#: An hour like any other: orders in waves, a group that keeps up, one that fails now and then.
HOUR = """
INSERT INTO eventbus.traffic AS t (minute, type, group_name, published, consumed)
SELECT date_trunc('minute', now(), 'UTC') - make_interval(mins => ago), type, name,
       CASE name WHEN '' THEN wave ELSE 0 END, CASE name WHEN '' THEN 0 WHEN 'notification' THEN wave * 9 / 10 ELSE wave END
FROM generate_series(1, 60) AS ago
CROSS JOIN LATERAL (SELECT 240 + (90 * sin(ago / 7.0))::int + (ago * 37) % 41 AS wave) AS waves
CROSS JOIN (VALUES ('order.created'), ('order.paid')) AS types (type)
CROSS JOIN (VALUES (''), ('inventory'), ('notification')) AS names (name)
ON CONFLICT DO NOTHING;
INSERT INTO eventbus.traffic_total AS known (type, group_name, published, consumed)
SELECT type, group_name, sum(published), sum(consumed) FROM eventbus.traffic GROUP BY 1, 2
ON CONFLICT (type, group_name) DO UPDATE SET published = EXCLUDED.published, consumed = EXCLUDED.consumed;
INSERT INTO eventbus.attempt (event_id, group_name, kind, number, error_type, error_message, failed_at)
SELECT gen_random_uuid(), 'notification', 'error', 1, 'SMTPException', 'try later', now() - make_interval(secs => n * 5.0)
FROM generate_series(1, 700) AS n WHERE n % 7 < 3
"""
#: The seed's workers live for as long as tests last, and were seen tomorrow.
NOW = "UPDATE eventbus.worker SET seen_at = clock_timestamp()"


def main() -> None:
    """Write the pictures."""
    with ExitStack() as stack:
        servers = stack.enter_context(start_servers(durable=False))
        upgrade(servers.database_url.replace("postgresql://", "postgresql+psycopg2://"))
        bus = make_bus(database_url=servers.database_url, broker_url=servers.broker_url)
        stack.callback(bus.database.dispose)
        seed = plant(bus)
        rows = stack.enter_context(closing(Rows(servers.database_url)))
        rows.all(HOUR)
        rows.all(NOW)
        url = stack.enter_context(serving(create_app(bus)))
        browser = stack.enter_context(running_browser())
        _shoot(browser, url, seed)


def _shoot(browser: Browser, url: str, seed: Seed) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    pictures = (
        ("console-overview", "/", "light", 1200),
        ("console-group", "/groups/notification", "dark", 1200),
        ("console-narrow", "/", "dark", 400),
    )
    for name, path, theme, width in pictures:
        context = browser.new_context(color_scheme=theme, viewport={"width": width, "height": 800})  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{url}{path}")
        page.wait_for_selector("canvas")
        page.screenshot(path=FOLDER / f"{name}.png", full_page=width > 400)
        context.close()


if __name__ == "__main__":
    main()
