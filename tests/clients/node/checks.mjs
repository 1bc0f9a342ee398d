// What the client scripts share: where things are, and checks that say what they found.

import assert from 'node:assert/strict';

export const HTTP = process.env.POINTSMAN_HTTP;
export const MOCK = process.env.POINTSMAN_MOCK;

export const equal = assert.deepEqual;

export function contains(text, part, what) {
  assert.ok(String(text).includes(part), `${what}: ${JSON.stringify(part)} is not in ${JSON.stringify(text)}`);
}

/** What the mock provider says of itself. */
export async function mock(path) {
  return (await fetch(MOCK.replace(/\/v1$/, '') + path)).json();
}

/** How often the mock provider was called with this very model name. */
export async function calls(model) {
  return (await mock('/bill')).models[model]?.calls ?? 0;
}

/** The error that a call must end with. */
export async function failure(call, what) {
  let answer;
  try {
    answer = await call();
  } catch (error) {
    return error;
  }
  throw new Error(`${what}: answered ${JSON.stringify(answer)} instead of failing`);
}

const failed = [];

/** Runs one check of many and says so; the others run all the same. */
export async function did(check, ...rest) {
  const name = [check.name, ...rest].join(' ');
  const began = performance.now();
  try {
    await check(...rest);
  } catch (error) {
    failed.push(name);
    console.error(error);
  }
  console.log(`${failed.includes(name) ? 'FAILED' : 'did'} ${name} (${Math.round(performance.now() - began)} ms)`);
}

/** Fails if any check has. */
export function end() {
  assert.deepEqual(failed, []);
}

/** One grey dot, as PNG in base64. */
export const PNG =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==';
