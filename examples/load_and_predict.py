"""Load the network of a run on digits, or a published one, and classify digits: load_and_predict.py FOLDER"""

import sys

import torch
from sklearn.datasets import load_digits

import sparseift

loaded = sparseift.load(sys.argv[1])
print(f"{loaded.weights} weights, {loaded.plan.params_active:,} of {loaded.plan.params_stored:,} parameters active")

digits = load_digits()
images = torch.from_numpy(digits.images * 255 / 16).round().to(torch.uint8)[:, None]
batch = torch.cat([loaded.preprocessing(image) for image in images[:100]])
with torch.inference_mode():
    probabilities = loaded.network(batch).softmax(1)

for index in range(5):
    probability, label = probabilities[index].max(0)
    print(f"digit {digits.target[index]}: {loaded.preprocessing.name(int(label))} with probability {probability:.2f}")
correct = probabilities.argmax(1) == torch.from_numpy(digits.target[:100])
print(f"{int(correct.sum())} of {len(correct)} are right")
