"""What a hypervisor says of itself, from libvirt's capabilities."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

from app.domain.guest import HostFacts
from app.virt.libvirt import kinds

CAPABILITIES = ET.fromstring("""
<capabilities>
  <host>
    <cpu>
      <arch>x86_64</arch><model>EPYC</model><vendor>AMD</vendor>
      <topology sockets="1" dies="1" cores="4" threads="2"/>
      <feature name="sse4.1"/><feature name="avx512-vnni"/>
    </cpu>
  </host>
  <guest>
    <os_type>hvm</os_type>
    <arch name="x86_64"><domain type="qemu"/><domain type="kvm"/></arch>
  </guest>
  <guest>
    <os_type>hvm</os_type>
    <arch name="aarch64"><domain type="qemu"/></arch>
  </guest>
</capabilities>
""")


@pytest.mark.parametrize(
    ("virt_type", "found"),
    [
        ("qemu", {("x86_64", "qemu", "hvm")}),
        ("kvm", {("x86_64", "qemu", "hvm"), ("x86_64", "kvm", "hvm")}),
    ],
)
def test_a_host_runs_what_its_virt_type_gives(virt_type: str, found: set[object]) -> None:
    assert set(kinds.supported(CAPABILITIES, virt_type)) == found


def test_processor_features_are_traits_where_guests_have_them() -> None:
    emulated = kinds.traits(CAPABILITIES, "qemu", "CUSTOM_SSD, CUSTOM_GOLD")
    assert {"CUSTOM_SSD", "CUSTOM_GOLD", "COMPUTE_IMAGE_TYPE_QCOW2"} <= set(emulated)
    assert not [name for name in emulated if name.startswith("HW_CPU")]
    assert {"HW_CPU_X86_SSE41", "HW_CPU_X86_AVX512_VNNI"} <= set(
        kinds.traits(CAPABILITIES, "kvm", "")
    )


def test_the_same_abilities_have_the_same_text() -> None:
    about = kinds.cpu(CAPABILITIES)
    assert about["topology"] == {"sockets": 1, "dies": 1, "cores": 4, "threads": 2}
    one, other = (
        HostFacts("u", "h", "a", 1, 1, 1, "QEMU", 1, supported=order, traits=("B", "A"), cpu=about)
        for order in ((("b", "q", "h"), ("a", "q", "h")), (("a", "q", "h"), ("b", "q", "h")))
    )
    assert one.abilities() == other.abilities()
    assert json.loads(one.abilities())["traits"] == ["A", "B"]
