class RingMemory:
    def __init__(self, size):
        pass

    def tell(self, thing):
        pass

    def recall(self):
        pass

    def resize(self, size):
        pass
