"""Compiled loops over the images of one attribute: sorting scores, ranks within classes of images, sums by person.

A class is a group of some grouping. Every image is in one class of each grouping, so one pass over the images by
ascending score serves all groupings. Counts are whole numbers, and other sums are taken in the order of the images without
``fastmath``: every process gives the same bytes.

Arrays: score (n,) ascending; key (n,) int32, twice the row of the count cube, plus 1 for a positive image; classes
(rows, J) int32, numbers that are distinct over the J groupings.
"""

from __future__ import annotations

import numpy as np
from numba import njit

_DIGIT = 8  # bits that one round of sorting looks at; more would need more places of memory at a time than a cache has
_STEP = 1024  # images between two marks


@njit(cache=True, nogil=True)
def defined(bits, labels, row):
    """``bits`` (n,) of the images with a label other than 0, and their keys; labels (n,) int8, row (n,) int32."""
    kept, key, n = np.empty_like(bits), np.empty_like(row), 0
    for i in range(len(bits)):  # without a branch, which a processor cannot foresee: what has no label is overwritten
        kept[n], key[n] = bits[i], 2 * row[i] + (labels[i] > 0)
        n += labels[i] != 0
    return kept[:n], key[:n]


@njit(cache=True, nogil=True)
def ascending(bits, key):
    """``bits`` (n,) unsigned and ``key`` (n,) in ascending order of bits; of equals, the first stays first."""
    n, width = len(bits), 8 * bits.itemsize
    others, other_keys = np.empty_like(bits), np.empty_like(key)
    counts = np.zeros((width // _DIGIT, 1 << _DIGIT), dtype=np.int64)
    for i in range(n):
        rest = bits[i]
        for digit in range(len(counts)):
            counts[digit, rest & 255] += 1
            rest >>= _DIGIT
    for digit in range(len(counts)):
        if n and counts[digit].max() == n:
            continue  # all alike
        shift, place = digit * _DIGIT, np.zeros(1 << _DIGIT, dtype=np.int64)
        for value in range(1, len(place)):
            place[value] = place[value - 1] + counts[digit, value - 1]
        for i in range(n):
            value = (bits[i] >> shift) & 255
            to = place[value]
            place[value] = to + 1
            others[to], other_keys[to] = bits[i], key[i]
        bits, others, key, other_keys = others, bits, other_keys, key
    return bits, key


@njit(cache=True, nogil=True)
def right_pairs(score, key, classes, n_classes, n_marked):
    """What images add to twice the number of right pairs of a positive and a negative image of one class.

    Returns (rows, J, 2) int64 sums: of positive images [1] twice the negative ones of their class with a lower score, of
    negative ones [0] twice the positive ones with a lower score; one with the same score counts once. And
    (marks, n_marked, 2) int64: negative and positive images of the first classes before every _STEP-th image, and of all.
    """
    n, width = len(score), classes.shape[1]
    below = np.zeros((n_classes, 2), dtype=np.int64)
    found = np.zeros((*classes.shape, 2), dtype=np.int64)
    marks = np.zeros((n // _STEP + 2, n_marked, 2), dtype=np.int64)
    start = 0
    while start < n:
        end = start + 1
        while end < n and score[end] == score[start]:
            end += 1
        if end > start + 1:  # twice the number below is that below the first plus that below the next score
            for i in range(start, end):
                row, positive = key[i] >> 1, key[i] & 1
                for j in range(width):
                    found[row, j, positive] += below[classes[row, j], 1 - positive]
        for i in range(start, end):
            row, positive = key[i] >> 1, key[i] & 1
            if i % _STEP == 0:
                _mark(marks, i // _STEP, below)
            for j in range(width):
                c = classes[row, j]
                below[c, positive] += 1
                if end == start + 1:
                    found[row, j, positive] += 2 * below[c, 1 - positive]
        if end > start + 1:
            for i in range(start, end):
                row, positive = key[i] >> 1, key[i] & 1
                for j in range(width):
                    found[row, j, positive] += below[classes[row, j], 1 - positive]
        start = end
    for mark in range((n + _STEP - 1) // _STEP, len(marks)):
        _mark(marks, mark, below)
    return found, marks


@njit(cache=True, nogil=True)
def _mark(marks, mark, below):
    for c in range(marks.shape[1]):
        marks[mark, c, 0], marks[mark, c, 1] = below[c, 0], below[c, 1]


@njit(cache=True, nogil=True)
def _before(position, key, classes, marks, j, c):
    """Negative and positive images of a class ``c`` of the grouping ``j`` before a position."""
    mark = position // _STEP
    negative, positive = marks[mark, c, 0], marks[mark, c, 1]
    for i in range(mark * _STEP, position):
        if classes[key[i] >> 1, j] == c:
            if key[i] & 1:
                positive += 1
            else:
                negative += 1
    return negative, positive


@njit(cache=True, nogil=True)
def _place_of(number, key, classes, marks, j, c):
    """The position of the image with this number in its class, counted from 0."""
    low, high = 0, len(marks) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if marks[middle, c, 0] + marks[middle, c, 1] <= number:
            low = middle
        else:
            high = middle
    seen = marks[low, c, 0] + marks[low, c, 1]
    for i in range(low * _STEP, len(key)):
        if classes[key[i] >> 1, j] == c:
            if seen == number:
                return i
            seen += 1
    return len(key)


@njit(cache=True, nogil=True)
def _from(score, value, beyond):
    """The first position with a score of at least ``value``; with ``beyond``, of more."""
    low, high = 0, len(score)
    while low < high:
        middle = (low + high) // 2
        if score[middle] < value or (beyond and score[middle] == value):
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True)
def crossings(score, key, classes, marks, first, least):
    """Where the rates of wrong answers of every class cross, for the equal error rate.

    If the images from a position on are accepted, (FPR - FNR) times the class's positives and negatives falls with the
    position. ``least`` (classes,) is a value of this product. Looked for is the last image of the class before which the
    product is at least so large, or its first one; it lies in a run of equal scores.

    first  (J + 1,) number of the first class of each grouping, and of all classes

    Returns (classes, 2) int64 positions of the start of the run and after it, (classes, 2, 2) the negative and positive
    images of the class before these, and (classes, 2) the scores of its first images from these on, NaN without one.
    """
    n_classes = first[-1]
    ends, before = np.zeros((n_classes, 2), dtype=np.int64), np.zeros((n_classes, 2, 2), dtype=np.int64)
    scores = np.full((n_classes, 2), np.nan)
    for j in range(len(first) - 1):
        for c in range(first[j], first[j + 1]):
            n, m = marks[-1, c, 0], marks[-1, c, 1]
            if n + m == 0:
                continue
            number = 0
            if n * (-m) >= least[c]:
                number = n + m - 1
            elif n * m >= least[c]:
                low, high = 0, len(marks) - 1
                while high - low > 1:
                    middle = (low + high) // 2
                    if (n - marks[middle, c, 0]) * m - marks[middle, c, 1] * n >= least[c]:
                        low = middle
                    else:
                        high = middle
                negative, positive = marks[low, c, 0], marks[low, c, 1]
                for i in range(low * _STEP, len(key)):
                    if classes[key[i] >> 1, j] == c:
                        if (n - negative) * m - positive * n < least[c]:
                            break
                        number = negative + positive
                        if key[i] & 1:
                            positive += 1
                        else:
                            negative += 1
            value = score[_place_of(number, key, classes, marks, j, c)]
            scores[c, 0] = value
            for k in range(2):
                ends[c, k] = _from(score, value, k)
                before[c, k] = _before(ends[c, k], key, classes, marks, j, c)
            after = before[c, 1, 0] + before[c, 1, 1]
            if after < n + m:
                scores[c, 1] = score[_place_of(after, key, classes, marks, j, c)]
    return ends, before, scores


@njit(cache=True, nogil=True)
def accepted(key, classes, ends):
    """(rows, J, 2, 2) int64 negative and positive images from the first of the ``ends`` (classes, 2) of their class on:
    [..., 0] those before the second, and [..., 1] those from it on."""
    width = classes.shape[1]
    found = np.zeros((*classes.shape, 2, 2), dtype=np.int64)
    first, last = len(key), 0
    for c in range(len(ends)):
        first, last = min(first, ends[c, 0]), max(last, ends[c, 1])
    for i in range(first, last):
        row, positive = key[i] >> 1, key[i] & 1
        for j in range(width):
            c = classes[row, j]
            if c < len(ends) and i >= ends[c, 0]:
                found[row, j, positive, 0 if i < ends[c, 1] else 1] += 1
    beyond = np.zeros((len(classes), 2), dtype=np.int64)
    for i in range(max(first, last), len(key)):
        beyond[key[i] >> 1, key[i] & 1] += 1
    for row in range(len(beyond)):
        for j in range(width):
            for positive in range(2):
                found[row, j, positive, 1] += beyond[row, positive]
    return found


@njit(cache=True, nogil=True)
def sums(score, key, ends, n_rows):
    """(rows, 2, 2) sums of score - label and of its square over negative and positive images, and by bin of the scores.

    ends  (bins,) positions after each bin

    The sums by bin are (bins, rows, 2, 2): images and scores.
    """
    errors, by_bin = np.zeros((n_rows, 2, 2)), np.zeros((len(ends), n_rows, 2, 2))
    start = 0
    for b in range(len(ends)):
        for i in range(start, ends[b]):
            row, positive = key[i] >> 1, key[i] & 1
            value = np.float64(score[i])
            error = value - positive
            errors[row, positive, 0] += error
            errors[row, positive, 1] += error * error
            by_bin[b, row, positive, 0] += 1
            by_bin[b, row, positive, 1] += value
        start = ends[b]
    return errors, by_bin
