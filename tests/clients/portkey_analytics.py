"""The official Portkey client, unmodified, reads analytics: what the test asked before is in the books."""

import datetime
import os

from portkey_ai import Portkey

import checks
from checks import equal

CLIENT = Portkey(base_url=f"{checks.HTTP}/v1", api_key="unused")
NOW = datetime.datetime.now(datetime.timezone.utc)
TIME = {
    "time_of_generation_min": (NOW - datetime.timedelta(hours=1)).isoformat(),
    "time_of_generation_max": (NOW + datetime.timedelta(minutes=5)).isoformat(),
}
CENTS = float(os.environ["EXPECTED_CENTS"])
REQUESTS = int(os.environ["EXPECTED_REQUESTS"])


def near(found, expected, what):
    assert abs(found - expected) < 1e-9, f"{what}: found {found!r}, expected {expected!r}"


def graphs():
    cost = CLIENT.analytics.graphs.cost(**TIME)
    equal(cost.object, "analytics-graph", "a graph")
    near(cost.summary["total"], CENTS, "cents")
    near(sum(point["total"] for point in cost.data_points), CENTS, "cents of all points")
    equal(CLIENT.analytics.graphs.requests(**TIME).summary["total"], REQUESTS, "requests")
    equal(CLIENT.analytics.graphs.users(**TIME).summary["total"], 2, "users")
    equal(CLIENT.analytics.graphs.errors(**TIME).summary["total"], 1, "errors")
    codes = CLIENT.analytics.graphs.errors_status_codes(**TIME).data_points
    equal(codes, [{"status_code": 400, "count": 1}], "status codes")
    red = CLIENT.analytics.graphs.requests(**TIME, metadata='{"team": "red"}')
    equal(red.summary["total"], 5, "requests of a team")


def groups():
    users = CLIENT.analytics.groups.users(**TIME)
    equal({row["user"]: row["requests"] for row in users.data}, {"ann": 4, "bob": 3}, "requests of users")
    near(sum(row["cost"] for row in users.data), CENTS, "cents of all users")
    teams = CLIENT.analytics.groups.metadata(metadata_key="team", **TIME)
    equal({row["metadata_value"]: row["requests"] for row in teams.data}, {"red": 5, "blue": 2}, "requests of teams")
    equal(CLIENT.analytics.summary.cache(**TIME).summary["total_requests"], REQUESTS, "requests beside the cache")


graphs()
groups()
