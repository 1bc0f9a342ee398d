// The official Anthropic client for Node, unmodified, with providers of four dialects behind it.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { calls, contains, did, end, equal, failure, HTTP, PNG } from './checks.mjs';

// Resolved from where the test has installed it.
const require = createRequire(`${process.env.POINTSMAN_MODULES}/`);
const { default: Anthropic } = require('@anthropic-ai/sdk');
const { betaZodTool } = require('@anthropic-ai/sdk/helpers/beta/zod');
const { zodOutputFormat } = require('@anthropic-ai/sdk/helpers/zod');
const { z } = require('zod');

const client = new Anthropic({ baseURL: HTTP, apiKey: 'unused', maxRetries: 0 });
const messages = [{ role: 'user', content: 'where does the lantern hang' }];
const ANSWER = 'mock heard: where does the lantern hang';
const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const tools = [{ name: 'weather', input_schema: city }, { name: 'clock', input_schema: city }];
const ask = (model, more) => client.messages.create({ model, messages, max_tokens: 200, ...more });
const streamed = (model, more) => client.messages.stream({ model, messages, max_tokens: 200, ...more });
const text = (answer) => answer.content.map((block) => block.text ?? '').join('');
const uses = (answer) => answer.content.filter((block) => block.type === 'tool_use');

async function chat(provider) {
  const answer = await ask(`@${provider}/mock`, { system: 'be brief' });
  equal([answer.type, answer.role, answer.model, answer.stop_reason], ['message', 'assistant', 'mock', 'end_turn']);
  equal([text(answer), answer.usage.input_tokens, answer.usage.output_tokens], [ANSWER, 7, 7]);
  assert.ok(answer._request_id, 'a request id');
}

async function stream(provider) {
  const pieces = [];
  const running = streamed(`@${provider}/mock`).on('text', (piece) => pieces.push(piece));
  const answer = await running.finalMessage();
  equal([pieces.join(''), text(answer), answer.stop_reason, answer.usage.output_tokens], [ANSWER, ANSWER, 'end_turn', 7]);
  assert.ok(pieces.length > 3, `as they come: ${pieces}`);
}

async function toolLoop(provider) {
  const model = `@${provider}/mock?tools=2`;
  const question = [{ role: 'user', content: 'Oslo' }];
  const first = await ask(model, { messages: question, tools });
  equal([first.stop_reason, uses(first).map((use) => [use.name, use.input])],
    ['tool_use', [['weather', { city: 'Oslo' }], ['clock', { city: 'Oslo' }]]]);
  const again = await streamed(model, { messages: question, tools }).finalMessage();
  equal(uses(again).map((use) => use.input), uses(first).map((use) => use.input));
  const content = uses(first).map((use) => ({ type: 'tool_result', tool_use_id: use.id, content: `of ${use.name}` }));
  const turns = [...question, { role: 'assistant', content: first.content }, { role: 'user', content }];
  contains(text(await ask(model, { messages: turns, tools })), 'of weather of clock', 'the results were heard');
}

async function toolRunner(provider) {
  const cities = [];
  const run = ({ city }) => (cities.push(city), `sun in ${city}`);
  const weather = betaZodTool({ name: 'weather', description: 'The weather.', inputSchema: z.object({ city: z.string() }), run });
  const question = [{ role: 'user', content: 'Oslo' }];
  const body = { model: `@${provider}/mock?tools=1`, max_tokens: 200, tools: [weather], messages: question };
  const answer = await client.beta.messages.toolRunner(body);
  equal([cities, answer.stop_reason], [['Oslo'], 'end_turn']);
  contains(text(answer), 'sun in Oslo', 'the answer');
}

async function structuredOutput(provider) {
  const format = zodOutputFormat(z.object({ name: z.string(), quays: z.array(z.object({ depth: z.number() })) }));
  const answer = await client.messages.parse({ model: `@${provider}/mock`, messages, max_tokens: 200, output_config: { format } });
  assert.equal(typeof answer.parsed_output.name, 'string');
  assert.ok(Array.isArray(answer.parsed_output.quays), `${JSON.stringify(answer.parsed_output)}`);
}

async function vision(provider) {
  const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PNG } };
  const content = [{ type: 'text', text: 'what is this' }, image];
  contains(text(await ask(`@${provider}/mock`, { messages: [{ role: 'user', content }] })), 'image', 'what was seen');
}

async function errors(provider) {
  for (const [status, kind] of [
    [400, Anthropic.BadRequestError], [401, Anthropic.AuthenticationError], [404, Anthropic.NotFoundError],
    [429, Anthropic.RateLimitError], [500, Anthropic.InternalServerError],
  ]) {
    const error = await failure(() => ask(`@${provider}/mock?status=${status}`), `${status}`);
    assert.ok(error instanceof kind, `${provider} ${status}: ${error}`);
    contains(error.message, `${provider} error: `, 'who said it');
    assert.ok(error.requestID, 'a request id');
  }
  const broken = await failure(() => streamed(`@${provider}/mock?error-after=2`).finalMessage(), 'a broken stream');
  contains(broken.message, 'asks for this error in the stream', 'what happened');
  const model = `mock-node-${provider}?status=503&retry-after=1ms`;
  await failure(() => client.messages.create({ model: `@${provider}/${model}`, messages, max_tokens: 9 }, { maxRetries: 1 }), 'retries');
  equal(await calls(model), 2);
}

for (const provider of ['anthropic', 'openai', 'google', 'bedrock']) {
  for (const check of [chat, stream, toolLoop, toolRunner, structuredOutput, vision, errors]) await did(check, provider);
}
end();
