"""The protocol of members of the family, and the base class of members that replace layers one by one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Protocol

from torch import nn

from ..common.checks import number, require
from ..graph.trace import Trace
from ..surgery.initialization import Initializer
from ..surgery.replace import Site, initializer, irreplaceable, replace, site_of


class Member(Protocol):
    """A transformation of networks.

    Attributes:
        iso_flop: Whether the plan matches the FLOPs of the dense network. If not, it has the given sparsity.

    A member that can start from the weights of the network also takes the keyword `keep` (see `LocalMember`), and says
    in an attribute `keeps_with` with which options it can. Its result is compared with the network.
    """

    iso_flop: ClassVar[bool]

    def __call__(self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction) -> list[str]:
        """Transform a network in place.

        Args:
            net: A copy of the network that `record` describes.
            eligible: Names of the layers to transform.
            sparsity: Nominal sparsity s, 0 < s < 1.

        Returns:
            The names of the layers to mask in the transformed network.

        Raises:
            UserError: The network can't be transformed.
        """
        ...


@dataclass(frozen=True)
class Replacement:
    """The module that replaces a layer.

    Attributes:
        masked: Names of the layers to mask, within the module.
        with_norm: The module also replaces the norm that follows the layer.
        with_activation: The module also replaces the non-linearity that only this layer uses.
    """

    module: nn.Module
    masked: Sequence[str]
    with_norm: bool = False
    with_activation: bool = False


class LocalMember(ABC):
    """A member that replaces eligible layers one by one.

    Projection shortcuts, `irreplaceable` layers and those without a `replacement` are masked as they are.

    Attributes:
        resizes: Whether replacements have copies of the layer with another number of channels.
    """

    iso_flop: ClassVar[bool] = True
    resizes: ClassVar[bool] = False
    keeps_with: ClassVar[str] = ""

    @abstractmethod
    def replacement(self, site: Site, record: Trace, sparsity: Fraction, initial: Initializer) -> Replacement | None:
        """Return the replacement of a layer, or None if the layer stays.

        Args:
            site: The layer, with the norm and the non-linearity that follow it. If `site.keep` is true, the network
                with the replacement should compute the same function as before.
            initial: Draws new weights.
        """

    def kept(self, record: Trace, eligible: Sequence[str]) -> dict[str, str]:
        """Return the eligible layers that can't be replaced in this network, each with the reason."""
        return irreplaceable(record.net, record, eligible, self.resizes)

    def __call__(
        self, net: nn.Module, record: Trace, eligible: Sequence[str], sparsity: Fraction, keep: bool = False
    ) -> list[str]:
        """Transform a network in place (see `Member`).

        Args:
            keep: Start from the weights of the network, as far as the member can, instead of from new ones.
        """
        initial = initializer(net, record)
        kept = irreplaceable(net, record, eligible, self.resizes)
        masked = []
        for name in eligible:
            site = site_of(net, record, name, keep)
            stays = name in kept or record.is_projection(name)  # projection shortcuts stay in the authors' code
            new = None if stays else self.replacement(site, record, sparsity, initial)
            if new is None:
                masked.append(name)
                continue
            replace(net, name, new.module)
            if new.with_norm and site.norm_name:
                replace(net, site.norm_name, nn.Identity())
            if new.with_activation and site.activation_name:
                replace(net, site.activation_name, nn.Identity())
            masked += [f"{name}.{layer}" for layer in new.masked]
        return masked


def exact(sparsity: float) -> Fraction:
    """Return the sparsity as a decimal fraction, so that sizes do not depend on the rounding of floats.

    Raises:
        UserError: The sparsity is not a number in (0, 1), or is less than a millionth away from 0 or 1.
    """
    share = Fraction(float(number("sparsity", sparsity, 0, 1, "()"))).limit_denominator(10**6)
    require(share not in (0, 1), "sparsity", sparsity, "a number in steps of one millionth")
    return share
