import assert from 'node:assert/strict';
import { test } from 'node:test';

import { fold } from './fold-strip.js';

test('an even strip', () => {
  assert.deepEqual(fold('abcd'), [['b', 'c'], ['a', 'd']]);
});

test('an odd strip', () => {
  assert.deepEqual(fold('abcde'), [['b', 'd'], ['a', 'e']]);
});

test('nothing to fold', () => {
  assert.deepEqual(fold(''), []);
  assert.deepEqual(fold('x'), []);
});

test('signs are what people see', () => {
  assert.deepEqual(fold('👍🏽e\u0301'), [['👍🏽', 'e\u0301']]);
});
