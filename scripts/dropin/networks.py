"""The networks of the table."""

from __future__ import annotations

from functools import cached_property

import torch
import torchvision
from torch import Tensor, nn

from sparseift.graph.copies import duplicate

from .counting import counted

SIDES = (64, 128)  # pixels; a check tries these image sizes before that of the plan
TIMM = """
    resnet18 resnet50 resnet50d resnet26t resnet50_gn resnetv2_50 resnetv2_50x1_bit resnext50_32x4d seresnet50
    seresnext50_32x4d skresnet18 ecaresnet26t resnest14d resnest50d res2net50_26w_4s cspresnet50 darknet53 repvgg_a0
    regnetx_004 regnety_004 regnetz_b16 densenet121 densenetblur121d dla34 dpn68 hrnet_w18_small selecsls42 vovnet39a
    vgg11 vgg16_bn inception_v3 inception_v4 inception_resnet_v2 xception41
    mobilenetv2_100 mobilenetv3_large_100 mobilenetv3_small_100 mobilenetv4_conv_small mobileone_s0 mixnet_s mnasnet_100
    efficientnet_b0 efficientnetv2_rw_s tf_efficientnet_b0 tf_efficientnetv2_b0 fbnetc_100 ghostnet_100 repghostnet_050
    hardcorenas_a lcnet_100 tinynet_a rexnet_100
    convnext_atto convnext_tiny convnextv2_atto convmixer_768_32 focalnet_tiny_srf poolformer_s12 poolformerv2_s12
    nfnet_f0 dm_nfnet_f0 nf_resnet50 eca_nfnet_l0
    botnet26t_256 halonet26t lambda_resnet26t coatnet_nano_rw_224 maxvit_tiny_rw_224 mobilevit_s mobilevit_xxs
    mobilevitv2_050 edgenext_xx_small fastvit_t8 efficientformer_l1 levit_128s visformer_tiny
    vit_tiny_patch16_224 vit_small_patch16_224 deit_tiny_patch16_224 deit3_small_patch16_224 beit_base_patch16_224
    cait_xxs24_224 crossvit_tiny_240 convit_tiny pit_ti_224 pvt_v2_b0 swin_tiny_patch4_window7_224
    swinv2_tiny_window8_256 tnt_s_patch16_224 twins_pcpvt_small volo_d1_224 xcit_nano_12_p16_224
    mixer_s16_224 resmlp_12_224 gmlp_ti16_224 sequencer2d_s
"""


def all_networks() -> list[str]:
    names = torchvision.models.list_models(module=torchvision.models)
    return [*(f"torchvision/{name}" for name in names), *(f"timm/{name}" for name in TIMM.split())]


def image_size(network: str) -> int:
    """Return the smallest published image size of the network, in pixels."""
    library, name = network.split("/")
    if library == "torchvision":
        weights = torchvision.models.get_model_weights(name)
        return min(weight.transforms.keywords["crop_size"] for weight in weights)
    import timm

    return timm.get_pretrained_cfg(name).input_size[-1]


def build(network: str) -> nn.Module:
    """Build the network with the defaults of its library: 1000 classes and auxiliary heads."""
    library, name = network.split("/")
    if library == "torchvision":
        return torchvision.models.get_model(name, weights=None)
    import timm

    return timm.create_model(name)


class Network:
    """A network that is built once for all members, on the meta device and with real weights."""

    def __init__(self, name: str):
        self.name = name
        self.image = image_size(name)

    @cached_property
    def on_meta(self) -> nn.Module:
        try:
            with torch.device("meta"):
                return build(self.name)
        except (NotImplementedError, RuntimeError):
            return build(self.name)  # some constructors compute with values

    @cached_property
    def real(self) -> nn.Module:
        torch.manual_seed(0)
        return build(self.name)

    @cached_property
    def counted(self) -> int:
        """FLOPs of one image by torch's counter."""
        return counted(self.on_meta, self.example)

    @property
    def example(self) -> Tensor:
        return torch.empty(1, 3, self.image, self.image, device="meta")

    @cached_property
    def images(self) -> Tensor:
        """Two images of the smallest size that the network accepts in training mode, where auxiliary heads run."""
        for side in SIDES:
            try:
                with torch.no_grad():
                    duplicate(self.real).train()(images := torch.randn(2, 3, side, side))
                return images
            except (AssertionError, RuntimeError, ValueError):
                continue  # too small, or the network has a fixed image size
        return torch.randn(2, 3, self.image, self.image)
