"""The official Portkey client, unmodified, as an administrator: configs, virtual keys, providers, API keys, workspaces;
and requests by what it has stored."""

from portkey_ai import Portkey

import checks
from checks import calls, contains, equal

BASE = f"{checks.HTTP}/v1"
QUESTION = [{"role": "user", "content": "where does the lantern hang"}]
ADMIN = Portkey(base_url=BASE, api_key="unused")


def target(model, **more):
    return {"provider": "openai", "api_key": "k", "custom_host": checks.MOCK, "override_params": {"model": model}, **more}


def ask(client, model="admin", **more):
    return client.chat.completions.create(model=model, messages=QUESTION, **more)


def index(answer):
    return answer.get_headers()["last-used-option-index"]


def refused(status, part, call):
    try:
        answer = call()
    except Exception as error:
        equal(getattr(error, "status_code", None), status, f"status of {error!r}")
        contains(str(error), part, "message")
        return
    raise AssertionError(f"answered {answer!r} instead of failing with {status}")


def by_plan(paid, free):
    conditions = [{"query": {"metadata.plan": {"$eq": "paid"}}, "then": "paid"}]
    nested = {"name": "paid", "strategy": {"mode": "fallback"}, "targets": [target(f"{paid}?status=503"), target(paid)]}
    strategy = {"mode": "conditional", "conditions": conditions, "default": "free"}
    return {"strategy": strategy, "targets": [nested, target(free, name="free")]}


def conditional_inline():
    client = Portkey(base_url=BASE, api_key="unused", config=by_plan("py-paid", "py-free"))
    equal(index(ask(client.with_options(metadata={"plan": "paid"}))), "config.targets[0].targets[1]", "a paid request")
    equal(index(ask(client.with_options(metadata={"plan": "trial"}))), "config.targets[1]", "another one")
    equal((calls("py-paid?status=503"), calls("py-paid"), calls("py-free")), (1, 1, 1), "calls")


def configs():
    made = ADMIN.configs.create(name="By plan", config=by_plan("py-s-paid", "py-s-free"), is_default=0)
    slug = made.slug
    assert slug.startswith("pc-by-plan-"), made
    equal((made.id, made.object, made.data["slug"]), (slug, "config", slug), "a config in both envelopes")
    found = ADMIN.configs.retrieve(slug=slug)
    equal((found.name, found.status, found.version_id), ("By plan", "active", made.version_id), "a config as it was made")
    equal(found.config["targets"][1]["api_key"], "***", "a credential that was stored")
    listed = ADMIN.configs.list()
    equal((listed.total, [row["slug"] for row in listed.data]), (1, [slug]), "configs")

    client = Portkey(base_url=BASE, api_key="unused", config=slug)
    equal(index(ask(client.with_options(metadata={"plan": "paid"}))), "config.targets[0].targets[1]", "a stored condition")
    equal(index(ask(client)), "config.targets[1]", "its default")
    equal((calls("py-s-paid"), calls("py-s-free")), (1, 1), "calls")

    changed = ADMIN.configs.update(slug=slug, name="Renamed", config=target("py-s-second"))
    assert changed.version_id and changed.version_id != made.version_id, changed
    equal(index(ask(client)), "config", "the new version, seen by the next request")
    equal(calls("py-s-second"), 1, "calls")
    versions = ADMIN.get(path=f"/configs/{slug}/versions")
    equal([row["version"] for row in versions.json()["data"]], [2, 1], "versions, newest first")
    ADMIN.post(f"/configs/{slug}/rollback", version=1)
    equal(index(ask(client)), "config.targets[1]", "the first version again")

    refused(400, "Unsupported operator", lambda: ADMIN.configs.create(
        name="x", config={"strategy": {"mode": "conditional", "conditions": [{"query": {"metadata.a": {"$like": 1}}, "then": "free"}]},
                          "targets": [target("x", name="free")]}))
    ADMIN.configs.delete(slug=slug)
    equal(ADMIN.configs.list().total, 0, "configs that are left")
    refused(400, "Invalid config id passed", lambda: ask(client))
    refused(404, "no-such", lambda: ADMIN.configs.retrieve(slug="pc-no-such"))


def virtual_keys():
    made = ADMIN.virtual_keys.create(
        name="Team", provider="openai", key="sk-first", note="of the team", slug="py-team", custom_host=checks.MOCK,
        usage_limits={"credit_limit": 1000000, "type": "tokens"}, rate_limits=[{"type": "requests", "unit": "rpm", "value": 600}])
    equal((made.slug, made.data["slug"]), ("py-team", "py-team"), "a virtual key's slug")
    found = ADMIN.virtual_keys.retrieve(slug="py-team")
    equal((found.name, found.note, found.masked_key), ("Team", "of the team", "***"), "a virtual key as it was made")
    equal([row["slug"] for row in ADMIN.virtual_keys.list().data], ["py-team"], "virtual keys")
    client = Portkey(base_url=BASE, api_key="unused", virtual_key="py-team")

    def sent(model):
        ask(client, model=f"{model}?log")
        return checks.received(model)[-1]["headers"]["authorization"]

    equal(sent("py-vk-first"), "Bearer sk-first", "the credential that was sealed")
    ADMIN.virtual_keys.update(slug="py-team", key="sk-second", note="rotated")
    equal(sent("py-vk-second"), "Bearer sk-second", "the credential that replaced it")
    by_provider = Portkey(base_url=BASE, api_key="unused", provider="@py-team")
    equal(by_provider.chat.completions.create(model="py-at", messages=QUESTION).get_headers()["provider"], "openai", "@slug")
    ADMIN.virtual_keys.delete(slug="py-team")
    equal(ADMIN.virtual_keys.list().total, 0, "virtual keys that are left")
    refused(401, "was revoked", lambda: ask(client))


def providers():
    configurations = {"custom_host": checks.MOCK}
    made = ADMIN.integrations.create(
        name="Shared", slug="py-shared", ai_provider_id="openai", key="sk-shared", configurations=configurations)
    equal(made.slug, "py-shared", "an integration's slug")
    ADMIN.integrations.update(slug="py-shared", description="for everybody")
    found = ADMIN.integrations.retrieve(slug="py-shared")
    equal((found.ai_provider_id, found.description, found.masked_key), ("openai", "for everybody", "***"), "an integration")
    equal([row.slug for row in ADMIN.integrations.list(type="all").data], ["py-shared"], "integrations")

    equal(ADMIN.providers.create(name="Ours", slug="py-ours", integration_id="py-shared").slug, "py-ours", "a provider's slug")
    ADMIN.providers.update(slug="py-ours", note="noted")
    equal((ADMIN.providers.retrieve(slug="py-ours").note, ADMIN.providers.list().total), ("noted", 2), "providers")
    client = Portkey(base_url=BASE, api_key="unused", provider="@py-ours")
    ask(client, model="py-provider?log")
    equal(checks.received("py-provider")[-1]["headers"]["authorization"], "Bearer sk-shared", "the integration's credential")
    ADMIN.providers.delete(slug="py-ours")
    ADMIN.integrations.delete(slug="py-shared")
    equal(ADMIN.integrations.list().total, 0, "integrations that are left")


def workspaces_and_api_keys():
    space = ADMIN.admin.workspaces.create(name="Py Space", description="made by the client")
    equal((space.id, space.slug), ("py-space", "py-space"), "a workspace")
    ADMIN.admin.workspaces.update(workspace_id=space.id, description="changed")
    equal(ADMIN.admin.workspaces.retrieve(workspace_id=space.id).description, "changed", "its description")
    page = ADMIN.admin.workspaces.list(page_size=1, current_page=1)
    equal((page.total, [row["slug"] for row in page.data]), (2, ["py-space"]), "the second page of workspaces")
    equal(ADMIN.admin.workspaces.list(exact_name="Py Space").total, 1, "workspaces of that name")

    made = ADMIN.api_keys.create(
        type="workspace", sub_type="service", name="ci", workspace_id=space.id, scopes=["completions.write", "configs.*"],
        rate_limits=[{"type": "requests", "unit": "rpm", "value": 600}])
    assert made.id and made.key.startswith("pm_"), made
    found = ADMIN.api_keys.retrieve(id=made.id)
    equal((found.name, found.workspace_id, found.status), ("ci", space.id, "active"), "an API key as it was made")
    ADMIN.api_keys.update(id=made.id, name="ci-2", description="renamed")
    listed = ADMIN.api_keys.list(workspace_id=space.id)
    equal([(row["id"], row["name"]) for row in listed.data], [(made.id, "ci-2")], "API keys of the workspace")

    # The key's own workspace: what is stored there is not seen from elsewhere.
    team = Portkey(base_url=BASE, api_key=made.key)
    stored = team.configs.create(name="Team's", config=target("py-team-config"))
    equal((team.configs.list().total, ADMIN.configs.list().total), (1, 0), "configs here and there")
    equal(index(ask(Portkey(base_url=BASE, api_key=made.key, config=stored.slug))), "config", "an authenticated request")
    refused(403, "virtual_keys.list", lambda: team.virtual_keys.list())

    rotated = ADMIN.post(f"/api-keys/{made.id}/rotate", key_transition_period_ms=0)
    assert rotated.key != made.key, "a rotated key differs"
    refused(401, "Invalid API Key", lambda: ask(Portkey(base_url=BASE, api_key=made.key, config=stored.slug)))
    ask(Portkey(base_url=BASE, api_key=rotated.key, config=stored.slug))
    ADMIN.api_keys.delete(id=made.id)
    equal(ADMIN.api_keys.list().total, 0, "API keys that are left")
    ADMIN.admin.workspaces.delete(workspace_id=space.id, name="Py Space")
    equal(ADMIN.admin.workspaces.list().total, 1, "workspaces that are left")


def policies():
    made = ADMIN.post("/policies/usage-limits", name="Teams", slug="py-teams", type="cost", credit_limit=25.5, alert_threshold=20,
                      periodic_reset="monthly", conditions=[{"key": "metadata.team", "value": "*"}], group_by=[{"key": "metadata.team"}])
    equal((made.id, made.object, made.credit_limit), ("py-teams", "policy_usage_limits", 25.5), "a policy of usage")
    ADMIN.put(path="/policies/usage-limits/py-teams", body={"credit_limit": 30})
    found = ADMIN.get(path="/policies/usage-limits/py-teams").json()
    equal((found["credit_limit"], found["status"]), (30, "active"), "the policy as it was changed")
    equal(ADMIN.get(path="/policies/usage-limits/py-teams/entities").json()["data"], [], "groups that have used something")
    refused(400, "use one of rps", lambda: ADMIN.post("/policies/rate-limits", type="requests", unit="rpy", value=1))
    ADMIN.delete(path="/policies/usage-limits/py-teams")
    equal(ADMIN.get(path="/policies/usage-limits").json()["total"], 0, "policies that are left")


conditional_inline()
configs()
virtual_keys()
providers()
workspaces_and_api_keys()
policies()
