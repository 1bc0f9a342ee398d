// The official OpenAI client for Node, unmodified, with providers of six formats behind it; Portkey's with Claude.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { calls, contains, did, end, equal, failure, HTTP, PNG } from './checks.mjs';

// Resolved from where the test has installed it.
const require = createRequire(`${process.env.POINTSMAN_MODULES}/`);
const { default: OpenAI } = require('openai');
const { zodResponseFormat, zodTextFormat } = require('openai/helpers/zod');
const { Portkey } = require('portkey-ai');
const { z } = require('zod');

const client = new OpenAI({ baseURL: `${HTTP}/v1`, apiKey: 'unused', maxRetries: 0 });
const messages = [{ role: 'user', content: 'where does the lantern hang' }];
const ANSWER = 'mock heard: where does the lantern hang';
const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
const tools = ['weather', 'clock'].map((name) => ({ type: 'function', function: { name, parameters } }));
const ask = (model, more) => client.chat.completions.create({ model, messages, ...more });
const Harbour = z.object({ name: z.string(), quays: z.array(z.object({ depth: z.number() })) });

async function chat(provider) {
  const answer = await ask(`@${provider}/mock`);
  equal([answer.object, answer.model, answer.choices[0].finish_reason], ['chat.completion', 'mock', 'stop']);
  equal([answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.total_tokens], [ANSWER, 5, 12]);
  assert.ok(answer._request_id, 'a request id');
}

async function stream(provider) {
  const running = client.chat.completions.stream({ model: `@${provider}/mock`, messages, stream_options: { include_usage: true } });
  const pieces = [];
  running.on('content', (piece) => pieces.push(piece));
  const answer = await running.finalChatCompletion();
  equal([pieces.join(''), answer.choices[0].message.content, answer.usage.total_tokens], [ANSWER, ANSWER, 12]);
  assert.ok(pieces.length > 3, `as they come: ${pieces}`);
}

async function toolLoop(provider) {
  const model = `@${provider}/mock?tools=2`;
  const question = [{ role: 'user', content: 'Oslo' }];
  const { message, finish_reason: reason } = (await ask(model, { messages: question, tools })).choices[0];
  equal([reason, message.tool_calls.map((call) => [call.function.name, JSON.parse(call.function.arguments)])],
    ['tool_calls', [['weather', { city: 'Oslo' }], ['clock', { city: 'Oslo' }]]]);
  const results = message.tool_calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: `of ${call.function.name}` }));
  const last = await ask(model, { messages: [...question, message, ...results], tools });
  contains(last.choices[0].message.content, 'of clock', 'the results were heard');
}

async function toolRunner(provider) {
  const cities = [];
  const run = ({ city }) => (cities.push(city), `sun in ${city}`);
  const weather = { type: 'function', function: { name: 'weather', description: 'The weather.', parameters, parse: JSON.parse, function: run } };
  const body = { model: `@${provider}/mock?tools=1`, messages: [{ role: 'user', content: 'Oslo' }], tools: [weather] };
  const answer = await client.chat.completions.runTools(body).finalContent();
  equal(cities, ['Oslo']);
  contains(answer, 'sun in Oslo', 'the answer');
}

async function structuredOutput(provider) {
  const body = { model: `@${provider}/mock`, messages, response_format: zodResponseFormat(Harbour, 'harbour') };
  const { parsed } = (await client.chat.completions.parse(body)).choices[0].message;
  assert.equal(typeof parsed.name, 'string');
  assert.ok(Array.isArray(parsed.quays), JSON.stringify(parsed));
}

async function vision(provider) {
  const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${PNG}` } };
  const content = [{ type: 'text', text: 'what is this' }, image];
  const answer = await ask(`@${provider}/mock`, { messages: [{ role: 'user', content }] });
  contains(answer.choices[0].message.content, 'image', 'what was seen');
}

async function responses(provider) {
  const body = { model: `@${provider}/mock`, input: 'where does the lantern hang' };
  equal((await client.responses.create(body)).output_text, ANSWER);
  const running = client.responses.stream(body);
  const pieces = [];
  running.on('response.output_text.delta', (event) => pieces.push(event.delta));
  equal([(await running.finalResponse()).output_text, pieces.join('')], [ANSWER, ANSWER]);
  const parsed = await client.responses.parse({ ...body, text: { format: zodTextFormat(Harbour, 'harbour') } });
  assert.equal(typeof parsed.output_parsed.name, 'string');
}

async function embeddings() {
  for (const provider of ['openai', 'google', 'cohere', 'ollama']) {
    const answer = await client.embeddings.create({ model: `@${provider}/mock`, input: ['harbour', 'lantern', 'harbour'] });
    equal(answer.data[0].embedding, answer.data[2].embedding);
    assert.ok(answer.data.every((entry) => typeof entry.embedding[0] === 'number'), provider);
  }
}

async function errors(provider) {
  for (const [status, kind] of [
    [400, OpenAI.BadRequestError], [401, OpenAI.AuthenticationError], [404, OpenAI.NotFoundError],
    [429, OpenAI.RateLimitError], [500, OpenAI.InternalServerError],
  ]) {
    const error = await failure(() => ask(`@${provider}/mock?status=${status}`), `${status}`);
    assert.ok(error instanceof kind, `${provider} ${status}: ${error}`);
    contains(error.message, `${provider} error: `, 'who said it');
    assert.ok(error.requestID, 'a request id');
  }
  const broken = await failure(async () => {
    for await (const chunk of await ask(`@${provider}/mock?error-after=2`, { stream: true })) assert.ok(chunk.id);
  }, 'a broken stream');
  contains(broken.message, 'asks for this error in the stream', 'what happened');
  const model = `mock-node-openai-${provider}?status=503&retry-after=1ms`;
  await failure(() => client.chat.completions.create({ model: `@${provider}/${model}`, messages }, { maxRetries: 1 }), 'retries');
  equal(await calls(model), 2);
}

/** Portkey's client with Claude and Gemini by a config. */
async function portkey(provider) {
  const config = { strategy: { mode: 'fallback' }, targets: [
    { provider, override_params: { model: 'node-out?status=529' } }, { provider, override_params: { model: 'node-spare' } },
  ] };
  const by = new Portkey({ baseURL: `${HTTP}/v1`, apiKey: 'unused', config });
  const answer = await by.chat.completions.create({ model: 'any', messages });
  equal(answer.choices[0].message.content, ANSWER.replace('mock', 'node-spare'));
  equal(answer.getHeaders()['last-used-option-index'], 'config.targets[1]');
  const pieces = [];
  for await (const chunk of await by.chat.completions.create({ model: 'any', messages, stream: true })) {
    pieces.push(chunk.choices[0]?.delta?.content ?? '');
  }
  equal(pieces.join(''), ANSWER.replace('mock', 'node-spare'));
}

for (const provider of ['openai', 'anthropic', 'google', 'bedrock', 'cohere', 'ollama']) {
  for (const check of [chat, stream, toolLoop, toolRunner, structuredOutput, vision, responses, errors]) await did(check, provider);
}
for (const provider of ['anthropic', 'google']) await did(portkey, provider);
await did(embeddings);
end();
