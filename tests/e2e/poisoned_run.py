"""sparseift.train with the labels of the test set shifted by one, which notes in loads.txt when images are loaded."""

from sparseift import train
from sparseift.data.images.digits import Digits


def main() -> None:
    load = Digits.load

    def poisoned(self, train: bool):
        images = load(self, train)
        if not train:
            images.targets = (images.targets + 1) % 10
        stage = self.trainer.state.fn.value if self.trainer else "set-up"
        with open("loads.txt", "a") as file:
            print("training" if train else "test", stage, file=file)
        return images

    Digits.load = poisoned
    train.main()
