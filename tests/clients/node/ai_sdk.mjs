// The Vercel AI SDK, unmodified, in both dialects with providers of other formats behind it.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { contains, did, end, equal, failure, HTTP, PNG } from './checks.mjs';

// Resolved from where the test has installed it.
const require = createRequire(`${process.env.POINTSMAN_MODULES}/`);
const { APICallError, generateObject, generateText, embedMany, stepCountIs, streamText, tool } = require('ai');
const { createOpenAI } = require('@ai-sdk/openai');
const { createAnthropic } = require('@ai-sdk/anthropic');
const { z } = require('zod');

const openai = createOpenAI({ baseURL: `${HTTP}/v1`, apiKey: 'unused' });
const anthropic = createAnthropic({ baseURL: `${HTTP}/v1`, apiKey: 'unused' });
const prompt = 'where does the lantern hang';
const ANSWER = `mock heard: ${prompt}`;

// The dialect of the caller (chat completions, responses, messages) and the provider.
const WAYS = {
  'chat to openai': (model) => openai.chat(`@openai/${model}`),
  'chat to anthropic': (model) => openai.chat(`@anthropic/${model}`),
  'chat to google': (model) => openai.chat(`@google/${model}`),
  'responses to anthropic': (model) => openai.responses(`@anthropic/${model}`),
  'messages to anthropic': (model) => anthropic(`@anthropic/${model}`),
  'messages to openai': (model) => anthropic(`@openai/${model}`),
  'messages to bedrock': (model) => anthropic(`@bedrock/${model}`),
};

async function all(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return pieces;
}

async function text(way) {
  const answer = await generateText({ model: WAYS[way]('mock'), prompt, maxRetries: 0 });
  equal([answer.text, answer.finishReason], [ANSWER, 'stop']);
  equal([answer.usage.inputTokens, answer.usage.outputTokens], [5, 7]);
}

async function stream(way) {
  const answer = streamText({ model: WAYS[way]('mock'), prompt, maxRetries: 0 });
  const pieces = await all(answer.textStream);
  equal([pieces.join(''), await answer.finishReason], [ANSWER, 'stop']);
  assert.ok(pieces.length > 3, `as they come: ${pieces}`);
  equal((await answer.usage).outputTokens, 7);
}

async function tools(way) {
  const cities = [];
  const execute = async ({ city }) => (cities.push(city), `sun in ${city}`);
  const weather = tool({ description: 'The weather.', inputSchema: z.object({ city: z.string() }), execute });
  const ask = { model: WAYS[way]('mock?tools=1'), prompt: 'Oslo', tools: { weather }, stopWhen: stepCountIs(3), maxRetries: 0 };
  const answer = await generateText(ask);
  contains(answer.text, 'sun in Oslo', 'the answer');
  const streamed = streamText(ask);
  contains((await all(streamed.textStream)).join(''), 'sun in Oslo', 'the streamed answer');
  equal(cities, ['Oslo', 'Oslo']);
}

async function object(way) {
  const schema = z.object({ name: z.string(), quays: z.array(z.object({ depth: z.number() })) });
  const answer = await generateObject({ model: WAYS[way]('mock'), schema, prompt, maxRetries: 0 });
  assert.equal(typeof answer.object.name, 'string');
}

async function vision(way) {
  const content = [{ type: 'text', text: 'what is this' }, { type: 'image', image: PNG, mediaType: 'image/png' }];
  const answer = await generateText({ model: WAYS[way]('mock'), messages: [{ role: 'user', content }], maxRetries: 0 });
  contains(answer.text, 'image', 'what was seen');
}

async function errors(way) {
  const error = await failure(() => generateText({ model: WAYS[way]('mock?status=429'), prompt, maxRetries: 0 }), way);
  assert.ok(APICallError.isInstance(error), `${error}`);
  equal([error.statusCode, error.isRetryable], [429, true]);
  contains(error.message, ' error: ', 'who said it');
}

async function embeddings() {
  for (const provider of ['openai', 'google', 'cohere']) {
    const model = openai.embedding(`@${provider}/mock`);
    const { embeddings: found } = await embedMany({ model, values: ['harbour', 'lantern', 'harbour'], maxRetries: 0 });
    equal(found[0], found[2]);
  }
}

for (const way of Object.keys(WAYS)) {
  for (const check of [text, stream, tools, object, vision, errors]) await did(check, way);
}
await did(embeddings);
end();
