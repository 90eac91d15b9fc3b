import unittest

from shelf_weights import heaviest


class ShelfWeightsTest(unittest.TestCase):
    def test_sums_by_shelf(self):
        self.assertEqual(heaviest(["A: 300", "B: 100", "A: 250"], 200), ["A"])

    def test_orders_by_weight_then_name(self):
        self.assertEqual(heaviest(["C: 5", "A: 9", "B: 5"], 1), ["A", "B", "C"])

    def test_limit_itself_is_not_over(self):
        self.assertEqual(heaviest(["A: 10"], 10), [])

    def test_blank_lines_are_skipped_but_counted(self):
        with self.assertRaisesRegex(ValueError, "line 3"):
            heaviest(["A: 1", "", "nonsense"], 0)

    def test_weight_must_be_a_number(self):
        with self.assertRaisesRegex(ValueError, "line 1"):
            heaviest(["A: heavy"], 0)


if __name__ == "__main__":
    unittest.main()
