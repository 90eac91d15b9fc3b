import unittest

from ring_memory import RingMemory


class RingMemoryTest(unittest.TestCase):
    def test_forgets_the_oldest(self):
        memory = RingMemory(2)
        self.assertIsNone(memory.tell("a"))
        self.assertIsNone(memory.tell("b"))
        self.assertEqual(memory.tell("c"), "a")
        self.assertEqual(memory.recall(), ["b", "c"])

    def test_what_is_recalled_is_a_copy(self):
        memory = RingMemory(1)
        memory.tell(1)
        memory.recall().clear()
        self.assertEqual(memory.recall(), [1])

    def test_shrinking_gives_back_what_is_forgotten(self):
        memory = RingMemory(3)
        for thing in (1, 2, 3):
            memory.tell(thing)
        self.assertEqual(memory.resize(1), [1, 2])
        self.assertEqual(memory.recall(), [3])

    def test_growing_forgets_nothing(self):
        memory = RingMemory(1)
        memory.tell(1)
        self.assertEqual(memory.resize(5), [])
        self.assertIsNone(memory.tell(2))

    def test_no_room_at_all(self):
        with self.assertRaises(ValueError):
            RingMemory(0)
        with self.assertRaises(ValueError):
            RingMemory(1).resize(0)


if __name__ == "__main__":
    unittest.main()
