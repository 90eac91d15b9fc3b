import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Office } from './queue-tickets.js';

test('numbers count for each letter', () => {
  const office = new Office();
  assert.deepEqual([office.next('B'), office.next('A'), office.next('B')], ['B1', 'A1', 'B2']);
});

test('calls in the order of waiting', () => {
  const office = new Office();
  office.next('A');
  office.next('A');
  assert.deepEqual([office.call('A'), office.call('A'), office.call('A')], ['A1', 'A2', null]);
});

test('a ticket after an empty queue goes on counting', () => {
  const office = new Office();
  office.next('A');
  office.call('A');
  assert.equal(office.call('A'), null);
  assert.equal(office.next('A'), 'A2');
  assert.equal(office.call('A'), 'A2');
});

test('only counters where somebody waits', () => {
  const office = new Office();
  office.next('C');
  office.next('A');
  office.next('C');
  office.next('B');
  office.call('B');
  assert.deepEqual(Object.entries(office.waiting()), [['A', 1], ['C', 2]]);
});

test('what is no letter', () => {
  const office = new Office();
  for (const letter of ['a', 'AB', '', '1', undefined]) {
    assert.throws(() => office.next(letter), RangeError);
    assert.throws(() => office.call(letter), RangeError);
  }
});
