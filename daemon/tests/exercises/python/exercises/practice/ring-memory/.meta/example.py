class RingMemory:
    def __init__(self, size):
        self._size = self._checked(size)
        self._things = []

    @staticmethod
    def _checked(size):
        if size < 1:
            raise ValueError("a memory has room for at least one thing")
        return size

    def tell(self, thing):
        self._things.append(thing)
        if len(self._things) > self._size:
            return self._things.pop(0)
        return None

    def recall(self):
        return list(self._things)

    def resize(self, size):
        self._size = self._checked(size)
        over = max(0, len(self._things) - size)
        forgotten, self._things = self._things[:over], self._things[over:]
        return forgotten
