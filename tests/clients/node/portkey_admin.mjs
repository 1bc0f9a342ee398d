// The official Portkey client for Node, unmodified, as an administrator; and requests by what it has stored.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { calls, contains, equal, failure, HTTP, MOCK, mock } from './checks.mjs';

// Resolved from where the test has installed it.
const { Portkey } = createRequire(`${process.env.POINTSMAN_MODULES}/`)('portkey-ai');

const messages = [{ role: 'user', content: 'where does the lantern hang' }];
const portkey = (more) => new Portkey({ baseURL: `${HTTP}/v1`, apiKey: 'unused', ...more });
const admin = portkey();
const ask = (client, model = 'node-admin') => client.chat.completions.create({ model, messages });
const index = (answer) => answer.getHeaders()['last-used-option-index'];
const slugs = (list) => list.data.map((row) => row.slug);

function target(model, more) {
  return { provider: 'openai', api_key: 'k', custom_host: MOCK, override_params: { model }, ...more };
}

function byPlan(paid, free) {
  const conditions = [{ query: { 'metadata.plan': { $eq: 'paid' } }, then: 'paid' }];
  const targets = [target(`${paid}?status=503`), target(paid)];
  const nested = { name: 'paid', strategy: { mode: 'fallback' }, targets };
  return { strategy: { mode: 'conditional', conditions, default: 'free' }, targets: [nested, target(free, { name: 'free' })] };
}

async function refused(status, part, call) {
  const error = await failure(call, `${status} ${part}`);
  equal(error.status, status, `${error}`);
  contains(error.message, part, 'message');
}

async function authorization(client, model) {
  await ask(client, `${model}?log`);
  const { requests } = await mock('/requests');
  return requests.find((request) => request.body.includes(model)).headers.authorization;
}

async function conditionalInline() {
  const config = byPlan('node-paid', 'node-free');
  equal(index(await ask(portkey({ config, metadata: { plan: 'paid' } }))), 'config.targets[0].targets[1]');
  equal(index(await ask(portkey({ config, metadata: { plan: 'trial' } }))), 'config.targets[1]');
  equal([await calls('node-paid'), await calls('node-free')], [1, 1]);
}

async function configs() {
  const made = await admin.configs.create({ name: 'By plan', config: byPlan('node-s-paid', 'node-s-free'), isDefault: 0 });
  const slug = made.slug;
  equal([made.id, made.data.slug], [slug, slug]);
  const found = await admin.configs.retrieve({ slug });
  equal([found.name, found.version_id, found.config.targets[1].api_key], ['By plan', made.version_id, '***']);
  equal(slugs(await admin.configs.list({})), [slug]);
  equal(index(await ask(portkey({ config: slug, metadata: { plan: 'paid' } }))), 'config.targets[0].targets[1]');
  equal(index(await ask(portkey({ config: slug }))), 'config.targets[1]');
  const changed = await admin.configs.update({ slug, name: 'Renamed', config: target('node-s-second') });
  assert.notEqual(changed.version_id, made.version_id);
  equal(index(await ask(portkey({ config: slug }))), 'config');
  equal(await calls('node-s-second'), 1);
  const versions = await admin.get(`/configs/${slug}/versions`);
  equal(versions.data.map((row) => row.version), [2, 1]);
  await admin.configs.delete({ slug });
  equal((await admin.configs.list({})).total, 0);
  await refused(400, 'Invalid config id passed', () => ask(portkey({ config: slug })));
  await refused(404, 'no-such', () => admin.configs.retrieve({ slug: 'pc-no-such' }));
}

async function virtualKeys() {
  const made = await admin.virtualKeys.create({ name: 'Team', slug: 'node-team', provider: 'openai', key: 'sk-first', custom_host: MOCK });
  equal(made.slug, 'node-team');
  equal((await admin.virtualKeys.retrieve({ slug: 'node-team' })).masked_key, '***');
  equal(slugs(await admin.virtualKeys.list({})), ['node-team']);
  const client = portkey({ virtualKey: 'node-team' });
  equal(await authorization(client, 'node-vk-first'), 'Bearer sk-first');
  await admin.virtualKeys.update({ slug: 'node-team', key: 'sk-second', note: 'rotated' });
  equal(await authorization(client, 'node-vk-second'), 'Bearer sk-second');
  await admin.virtualKeys.delete({ slug: 'node-team' });
  equal((await admin.virtualKeys.list({})).total, 0);
}

async function providers() {
  const configurations = { custom_host: MOCK };
  await admin.integrations.create({ name: 'Shared', slug: 'node-shared', ai_provider_id: 'openai', key: 'sk-shared', configurations });
  await admin.integrations.update({ slug: 'node-shared', description: 'for everybody' });
  equal((await admin.integrations.retrieve({ slug: 'node-shared' })).description, 'for everybody');
  equal(slugs(await admin.integrations.list({ type: 'all' })), ['node-shared']);
  equal((await admin.providers.create({ name: 'Ours', slug: 'node-ours', integration_id: 'node-shared' })).slug, 'node-ours');
  await admin.providers.update({ slug: 'node-ours', note: 'noted' });
  equal((await admin.providers.retrieve({ slug: 'node-ours' })).note, 'noted');
  equal((await admin.providers.list({ current_page: 0, page_size: 1 })).total, 2);
  equal(await authorization(portkey({ provider: '@node-ours' }), 'node-provider'), 'Bearer sk-shared');
  await admin.providers.delete({ slug: 'node-ours' });
  await admin.integrations.delete({ slug: 'node-shared' });
  equal((await admin.integrations.list({})).total, 0);
}

async function workspacesAndApiKeys() {
  const space = await admin.admin.workspaces.create({ name: 'Node Space', description: 'made by the client' });
  equal(space.slug, 'node-space');
  await admin.admin.workspaces.update({ workspaceId: space.id, description: 'changed' });
  equal((await admin.admin.workspaces.retrieve({ workspaceId: space.id })).description, 'changed');
  equal(slugs(await admin.admin.workspaces.list({ page_size: 1, current_page: 1 })), ['node-space']);
  const key = { type: 'workspace', 'sub-type': 'service', name: 'ci', workspace_id: space.id, scopes: ['completions.write', 'configs.*'] };
  const made = await admin.apiKeys.create(key);
  assert.ok(made.key.startsWith('pm_'), 'a key of ours');
  await admin.apiKeys.update({ id: made.id, name: 'ci-2' });
  equal((await admin.apiKeys.retrieve({ id: made.id })).name, 'ci-2');
  equal((await admin.apiKeys.list({ workspace_id: space.id })).data.map((row) => row.id), [made.id]);
  const team = portkey({ apiKey: made.key });
  const stored = await team.configs.create({ name: 'Team', config: target('node-team-config') });
  equal([(await team.configs.list({})).total, (await admin.configs.list({})).total], [1, 0]);
  equal(index(await ask(portkey({ apiKey: made.key, config: stored.slug }))), 'config');
  await refused(403, 'virtual_keys.list', () => team.virtualKeys.list({}));
  const rotated = await admin.post(`/api-keys/${made.id}/rotate`, { key_transition_period_ms: 0 });
  await refused(401, 'Invalid API Key', () => ask(portkey({ apiKey: made.key, config: stored.slug })));
  await ask(portkey({ apiKey: rotated.key, config: stored.slug }));
  await admin.apiKeys.delete({ id: made.id });
  equal((await admin.apiKeys.list({})).total, 0);
  await admin.admin.workspaces.delete({ workspaceId: space.id, name: 'Node Space' });
  equal((await admin.admin.workspaces.list({})).total, 1);
}

await conditionalInline();
await configs();
await virtualKeys();
await providers();
await workspacesAndApiKeys();
