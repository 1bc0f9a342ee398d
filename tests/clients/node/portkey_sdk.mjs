// The official Portkey client for Node, unmodified: providers, inline configs, metadata, traces, streams and errors.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { calls, contains, equal, failure, HTTP, MOCK, mock } from './checks.mjs';

// Resolved from where the test has installed it.
const { Portkey } = createRequire(`${process.env.POINTSMAN_MODULES}/`)('portkey-ai');

const messages = [{ role: 'user', content: 'where does the lantern hang' }];
const portkey = (more) => new Portkey({ baseURL: `${HTTP}/v1`, apiKey: 'unused', customHost: MOCK, ...more });
const target = (model, more) => ({ provider: 'openai', api_key: 'k', override_params: { model }, ...more });
const ask = (client, more) => client.chat.completions.create({ model: 'node', messages, ...more });
const header = (answer, name) => answer.getHeaders()[name];

async function single() {
  const answer = await ask(portkey({ provider: 'openai', Authorization: 'Bearer sk-node' }));
  contains(answer.choices[0].message.content, 'where does the lantern hang', 'the mock echoes the question');
  equal(header(answer, 'provider'), 'openai');
  equal(header(answer, 'last-used-option-index'), 'config');
  equal(header(answer, 'retry-attempt-count'), '0');
  equal(header(answer, 'cache-status'), 'DISABLED');
  assert.ok(header(answer, 'trace-id'), 'a trace id without asking');
}

async function traceAndMetadata() {
  const answer = await ask(portkey({ provider: 'openai', traceID: 'node-trace', metadata: { _user: 'u-1' } }));
  equal(header(answer, 'trace-id'), 'node-trace');
}

async function fallback() {
  const targets = [target('node-first?status=503'), target('node-second')];
  const answer = await ask(portkey({ config: { strategy: { mode: 'fallback' }, targets } }));
  equal(header(answer, 'last-used-option-index'), 'config.targets[1]');
  equal([await calls('node-first?status=503'), await calls('node-second')], [1, 1]);
}

async function nested() {
  const inner = { strategy: { mode: 'fallback' }, targets: [target('node-in?status=500'), target('node-in-2')] };
  const targets = [target('node-never', { weight: 0 }), { ...inner, weight: 1 }];
  const answer = await ask(portkey({ config: { strategy: { mode: 'loadbalance' }, targets } }));
  equal(header(answer, 'last-used-option-index'), 'config.targets[1].targets[1]');
  equal(await calls('node-never'), 0);
}

async function loadBalanced() {
  const targets = [target('node-a', { weight: 0.5 }), target('node-b', { weight: 0.5 })];
  const client = portkey({ config: { strategy: { mode: 'loadbalance' }, targets } });
  for (let n = 0; n < 40; n++) await ask(client);
  const [a, b] = [await calls('node-a'), await calls('node-b')];
  equal(a + b, 40);
  assert.ok(a >= 5 && b >= 5, `both targets have a share: ${a} and ${b}`);
}

async function retried() {
  const config = { provider: 'openai', api_key: 'k', retry: { attempts: 2, on_status_codes: [500] } };
  const answer = await ask(portkey({ config }), { model: 'node-retried?status=500,200' });
  equal(header(answer, 'retry-attempt-count'), '1');
}

async function streamed() {
  const pieces = [];
  for await (const chunk of await ask(portkey({ provider: 'openai' }), { stream: true })) {
    pieces.push(chunk.choices[0]?.delta?.content ?? '');
  }
  contains(pieces.join(''), 'where does the lantern hang', 'the pieces together');
  assert.ok(pieces.filter(Boolean).length > 3, `one word a chunk: ${pieces}`);
}

async function otherOperations() {
  const client = portkey({ provider: 'openai' });
  const answer = await client.completions.create({ model: 'node', prompt: 'say something' });
  contains(answer.choices[0].text, 'say something', 'a text completion');
  const vectors = await client.embeddings.create({ model: 'node', input: ['a', 'b'] });
  equal(vectors.data.length, 2);
  assert.ok((await client.models.list()).data.length > 0, 'models');
}

async function errors() {
  const cases = [
    [portkey({ provider: 'nosuch' }), {}, 400, 'Invalid provider passed'],
    [portkey({ config: { strategy: { mode: 'nope' }, targets: [target('x')] } }), {}, 400, 'Invalid config passed'],
    [portkey({ provider: 'openai', customHost: 'http://10.0.0.1/v1' }), {}, 400, 'Invalid custom host'],
    [portkey({ provider: 'openai', requestTimeout: 200 }), { model: 'node?delay=2s' }, 408, '200ms'],
  ];
  for (const status of [400, 401, 403, 404, 422, 429, 500, 503]) {
    cases.push([portkey({ provider: 'openai' }), { model: `node-${status}?status=${status}` }, status, 'openai error: ']);
  }
  for (const [client, more, status, part] of cases) {
    const error = await failure(() => ask(client, more), `${status} ${part}`);
    equal(error.status, status, `${error}`);
    contains(error.message, part, 'message');
    if (more.model?.includes('status=')) equal(await calls(more.model), 1, `the client does not repeat a ${status}`);
  }
}

async function forwardedHeaders() {
  const client = portkey({ provider: 'openai', forwardHeaders: ['x-tenant'], 'x-tenant': 't-1' });
  await ask(client, { model: 'node-forward?log' });
  const { requests } = await mock('/requests');
  equal(requests.find((request) => request.body.includes('node-forward')).headers['x-tenant'], 't-1');
}

await single();
await traceAndMetadata();
await fallback();
await nested();
await loadBalanced();
await retried();
await streamed();
await otherOperations();
await errors();
await forwardedHeaders();
