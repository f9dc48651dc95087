#!/usr/bin/env python3
"""Linear heads that are solved, not trained: ridge and logistic regression.

Both minimise, for features z that are normalised by train, and W, b,

    mean over images of loss(z W + b, label)  +  penalty * ||W||^2 (* 1/2)

where the loss is the squared error against one-hot labels (ridge), or the
cross-entropy (logistic, with the 1/2).  The mean is weighted by class.  An
image's views share its weight.  With n images, scikit-learn's `alpha` of
RidgeClassifier is n * penalty, and its `C` of LogisticRegression is
1 / (n * penalty).
"""
import numpy as np
import psutil
from scipy.linalg import LinAlgError, blas, cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_softmax

from stages.lib.common import errors, files, progress

ROWS = 1024    # in float64 at a time
# Of L-BFGS: type of the products; the greatest component of the gradient, and
# the change of the loss, at which it stops.
COARSE, FINE = ("float32", 1e-3, 1e-6), ("float64", 1e-6, 0.0)
STEPS = 1000    # at most
MEMORY = 20    # steps that L-BFGS remembers


class Ridge:
    """Ridge regression: rows are added once, then any penalty is solved."""

    def __init__(self, mean, deviation, by_class):
        """Begin without rows.

        Args:
            mean, deviation: of the features of train, float (d,).
            by_class: weight of an image of each class, float (classes,).
        """
        width, classes = len(mean), len(by_class)
        self._mean, self._deviation = mean, deviation
        self._by_class, self._one_hot = by_class, np.eye(classes)
        self._weight = 0.0
        self._z, self._y = np.zeros(width), np.zeros(classes)
        self._zz = np.zeros((width, width), order="F")    # upper triangle
        self._zy = np.zeros((width, classes))

    def add(self, views, labels):
        """Add images.

        Args:
            views: arrays (n, d) of the same images, row by row; may be
                memory-mapped.
            labels: integer (n,).
        """
        weights = self._by_class[labels] / len(views)
        with progress.bar("train: sums", len(views) * len(labels),
                          "rows") as bar:
            for x in views:
                for k, z in self._normalised(x):
                    self._add(z, labels[k], weights[k])
                    bar.update(len(z))

    def _add(self, z, labels, weights):
        """Add normalised rows, float64 (k, d), to the sums."""
        y, column = self._one_hot[labels], weights[:, None]
        self._weight += weights.sum()
        self._z += weights @ z
        self._y += weights @ y
        self._zy += z.T @ (y * column)
        z *= np.sqrt(column)
        self._zz = blas.dsyrk(1.0, z.T, beta=1.0, c=self._zz, overwrite_c=1)

    def _normalised(self, x):
        """Yield a slice of rows, and these rows of `x`, float64 (k, d)."""
        for first in range(0, len(x), ROWS):
            rows = slice(first, min(first + ROWS, len(x)))
            z = x[rows].astype("float64")
            z -= self._mean
            z /= self._deviation
            yield rows, z

    def _factor(self, share, penalty):
        """Return the upper Cholesky factor of share * covariance + penalty.

        Raises:
            TrainingError: it is singular.
        """
        matrix = np.multiply(self._zz, share / self._weight, order="F")
        matrix = blas.dsyr(-share / self._weight**2, self._z, a=matrix,
                           overwrite_a=1)
        matrix[np.diag_indices_from(matrix)] += penalty
        try:
            return cholesky(matrix, overwrite_a=True, check_finite=False)
        except LinAlgError as error:
            raise errors.TrainingError(
                f"train.penalties: {penalty:g} is too small to be solved; "
                "remove it") from error

    def solve(self, penalty):
        """Return W, float64 (d, classes), and b, float64 (classes,).

        They are divided by the variance of the residuals, penalty included:
        if these are normal, softmax of z W + b gives the probabilities.
        """
        z, y = self._z / self._weight, self._y / self._weight
        product = self._zy / self._weight - np.outer(z, y)
        factor = self._factor(1.0, penalty)
        kernel = _divide(factor, _divide(factor, product, trans=1))
        left = y.sum() - (y**2).sum() - (kernel * product).sum()
        variance = max(left / len(y), np.finfo("float64").tiny)
        return kernel / variance, (y - z @ kernel) / variance

    def refine(self, penalty, _head):
        """Return the exact W and b; `_head` is near them."""
        return self.solve(penalty)

    def score(self, x, labels, heads):
        """Return accuracy and cross-entropy of each of `heads` on `x`.

        Args:
            x: (n, d); may be memory-mapped.
            labels: integer (n,).
            heads: list of (W, b).

        Returns:
            float64 (heads, 2).
        """
        kernels, biases = map(np.hstack, zip(*heads))
        found = np.zeros((len(heads), 2))
        for rows, z in self._normalised(x):
            y = labels[rows]
            logits = log_softmax((z @ kernels + biases).reshape(
                len(y), len(heads), -1), axis=2)
            found[:, 0] += (logits.argmax(axis=2).T == y).sum(axis=1)
            found[:, 1] -= logits[np.arange(len(y)), :, y].sum(axis=0)
        return found / len(labels)


class Logistic(Ridge):
    """Multinomial logistic regression by L-BFGS.

    The unknowns are those in which the loss at W = 0 curves alike in all
    directions, so that few steps suffice.  A penalty starts from the solution
    of the one before.
    """

    def __init__(self, mean, deviation, by_class):
        """Begin without rows, as `Ridge`."""
        super().__init__(mean, deviation, by_class)
        self._parts = []    # (normalised rows, labels, weights)
        self._last = np.zeros_like(self._zy), np.zeros_like(self._y)

    def _add(self, z, labels, weights):
        """Add rows as `Ridge`, and keep them as float32."""
        self._parts.append((z.astype("float32"), labels, weights))
        super()._add(z, labels, weights)

    def solve(self, penalty):
        """Return W and b to 2 digits, from the last penalty's solution."""
        self._last = self._minimise(penalty, self._last, *COARSE)
        return self._last

    def refine(self, penalty, head):
        """Return W and b to 5 digits, from `head`, which is near them."""
        return self._minimise(penalty, head, *FINE)

    def _minimise(self, penalty, head, dtype, gradient, change):
        """Return the solution by L-BFGS that starts from `head`, (W, b)."""
        classes = len(self._y)
        factor = self._factor(1 / classes, penalty)

        def unpack(unknowns):
            """Return W and b."""
            unknowns = unknowns.reshape(-1, classes)
            return _divide(factor, unknowns[:-1]), unknowns[-1]

        def loss(unknowns):
            """Return the loss, and its gradient in the unknowns."""
            kernel, bias = unpack(unknowns)
            value, of_kernel, of_bias = self._loss(kernel, bias, dtype)
            value += penalty * (kernel**2).sum() / 2
            of_kernel += penalty * kernel
            return value, np.append(_divide(factor, of_kernel, trans=1),
                                    of_bias)

        return unpack(minimize(
            loss, np.vstack([factor @ head[0], head[1]]).ravel(), jac=True,
            method="L-BFGS-B", options={"maxiter": STEPS, "maxcor": MEMORY,
                                        "gtol": gradient, "ftol": change}).x)

    def _loss(self, kernel, bias, dtype):
        """Return the weighted mean cross-entropy, and its gradients."""
        value, flat = 0.0, kernel.astype(dtype)
        of_kernel, of_bias = np.zeros_like(kernel), np.zeros_like(bias)
        for z, labels, weights in self._parts:
            z = z.astype(dtype, copy=False)
            logits = log_softmax(z @ flat + bias, axis=1)
            rows = np.arange(len(z))
            value -= weights @ logits[rows, labels]
            rest = np.exp(logits)
            rest[rows, labels] -= 1
            rest *= weights[:, None]
            of_bias += rest.sum(axis=0)
            of_kernel += (rest.astype(dtype).T @ z).T    # faster than z.T @
        return (value / self._weight, of_kernel / self._weight,
                of_bias / self._weight)


SOLVERS = {"ridge": Ridge, "logistic": Logistic}


class Path:
    """The heads of all penalties, strongest first.

    Attributes:
        penalties: floats, from the largest to the smallest.
        history: name of `files.HISTORY` -> a value each.
        penalty, head: that of the best validation accuracy, and its (W, b).
    """

    def __init__(self, solver, given, train, validation):
        """Solve for each penalty; choose the best on validation.

        Args:
            solver: `Ridge` or `Logistic`, with the rows of train.
            given: `params.Train`.
            train, validation: (x, labels), one view, to be scored.
        """
        self.penalties = sorted(set(given.penalties), reverse=True)
        heads = []
        with progress.bar(f"train: {given.solver}", len(self.penalties),
                          "penalties") as bar:
            for penalty in self.penalties:
                heads.append(solver.solve(penalty))
                bar.update()

        def score(heads):
            """Return the history's values, float64 (heads, 4)."""
            return np.hstack([solver.score(*train, heads),
                              solver.score(*validation, heads)])

        scores, k, refined = score(heads), None, set()
        while k not in refined:    # a refined head may not be the best
            refined.add(k)
            k = int(scores[:, 2].argmax())
            if k not in refined:
                heads[k] = solver.refine(self.penalties[k], heads[k])
                scores[k] = score(heads[k:k + 1])[0]
        self.history = dict(zip(("accuracy", "loss", "val_accuracy",
                                 "val_loss"), scores.T.tolist()))
        self.penalty, self.head = self.penalties[k], heads[k]


def _divide(factor, right, trans=0):
    """Return the solution of factor @ x = right; of its transpose: 1."""
    return solve_triangular(factor, right, trans=trans, check_finite=False)


def check_memory(given, rows, width, classes):
    """Print the memory that the solver needs; refuse what does not fit.

    Args:
        given: `params.Train`.
        rows: of all views of train, and of validation.
        width: number of features.
        classes: number of classes.

    Raises:
        PlanError: it does not fit.
    """
    need = 8 * (2 * width**2 + 3 * ROWS * width
                + (len(given.penalties) + 3) * width * classes)
    if given.solver == "logistic":
        need += rows * (4 * width + 8) + 16 * MEMORY * width * classes
    free = psutil.virtual_memory().available
    print(f"train: {given.solver} needs {files.readable(need)} of memory, "
          f"{files.readable(free)} are free", flush=True)
    if need > free:
        raise errors.PlanError(
            f"{given.solver} needs {files.readable(need)} of memory, "
            f"{files.readable(free)} are free: " + (
                "set train.solver to ridge, which keeps no rows in memory, "
                "or name fewer extract.views"
                if given.solver == "logistic" else
                "set train.solver to gradient"))
