"""Fetches the tools into a cache outside the repository: npm's with a pinned checksum, Debian's signed by Debian.

EDGE_MTP_ANDROID_CACHE says where; ~/.cache/edge-mtp/android otherwise. A tool that is there is not fetched again.
"""

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from android_demo.tools import pins
from android_demo.tools.shell import PackageMissing, StepFailed, run

JAVA: Path = Path("/usr/share/java")
JUNIT_JARS = (
    "junit-jupiter-api", "junit-jupiter-engine", "junit-jupiter-params", "junit-platform-commons",
    "junit-platform-engine", "junit-platform-launcher", "junit-platform-console", "junit-platform-reporting",
    "opentest4j", "apiguardian-api", "picocli", "opentest4j-reporting-events", "opentest4j-reporting-schema",
    "univocity-parsers",
)  # fmt: skip
PROOF = {
    "openjdk-17-jdk-headless": Path("/usr/bin/javac"),
    "junit5": JAVA / "junit-platform-console.jar",
    "libjacoco-java": JAVA / "org.jacoco.core.jar",
    "aapt": Path("/usr/bin/aapt2"),
    "zipalign": Path("/usr/bin/zipalign"),
    "apksigner": Path("/usr/bin/apksigner"),
}
"""A file by which a Debian package is known to be there."""


@dataclass(frozen=True)
class Toolchain:
    """Where things are. Parts are fetched when they are first asked for."""

    cache: Path

    @property
    def kotlin(self) -> Path:
        """The Kotlin compiler's directory, with `bin` and `lib`."""
        return self._npm(pins.KOTLIN)

    @property
    def ktlint(self) -> Path:
        """The linter, one executable jar."""
        return self._npm(pins.KTLINT) / "resources" / "ktlint"

    @property
    def api_listing(self) -> Path:
        """TypeScript declarations of Android's public API 37, each with the level it came in."""
        return self._npm(pins.API_LISTING) / "lib" / "android" / "android-platform-37.d.ts"

    @property
    def android_jar(self) -> Path:
        """Android's API 23, to compile against."""
        return self._deb("libandroid-23-java") / "usr/share/java/com.android.android-23.jar"

    @property
    def dx_jar(self) -> Path:
        """Turns JVM bytecode into Android's."""
        return self._deb("dalvik-exchange") / "usr/share/java/com.android.dx-10.0.0.jar"

    @property
    def framework(self) -> Path:
        """Android's own resources, to link against."""
        found = sorted(self._deb(pins.FRAMEWORK_RES).rglob("framework-res.apk"))
        if not found:
            raise StepFailed(f"{pins.FRAMEWORK_RES} holds no framework-res.apk; another Debian release?")
        return found[0]

    def kotlin_jars(self, *names: str) -> list[Path]:
        """Jars that come with the compiler."""
        return [self.kotlin / "lib" / f"{name}.jar" for name in names]

    def is_complete(self) -> bool:
        """Whether compiling and testing needs no download."""
        kotlin = self.cache / "npm" / _folder(pins.KOTLIN.spec)
        return kotlin.exists() and all(PROOF[name].exists() for name in pins.DEBIAN[:3])

    def _npm(self, package: pins.NpmPackage) -> Path:
        return self._once("npm", _folder(package.spec), lambda target: _fetch_npm(package, target)) / "package"

    def _deb(self, name: str) -> Path:
        return self._once("deb", name, lambda target: _fetch_deb(name, target, self.cache))

    def _once(self, kind: str, name: str, fetch: Callable[[Path], None]) -> Path:
        """The directory of `name`; written aside and renamed, so that a fetch that was killed is done again."""
        target = self.cache / kind / name
        if not target.exists():
            aside = target.with_name(target.name + ".part")
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir(parents=True)
            fetch(aside)
            aside.rename(target)
        return target


def open_toolchain() -> Toolchain:
    """The tool chain in its cache; nothing is fetched yet."""
    chosen = os.environ.get("EDGE_MTP_ANDROID_CACHE")
    return Toolchain(Path(chosen) if chosen else Path.home() / ".cache" / "edge-mtp" / "android")


def install_debian() -> str:
    """Installs what is missing of Debian's packages; says what it did."""
    missing = [name for name in pins.DEBIAN if not PROOF[name].exists()]
    if shutil.which("npm") is None:
        missing.append("npm")
    if not missing:
        return "all there"
    run(["apt-get", "update", "-qq"])
    run(
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing],
        env={"DEBIAN_FRONTEND": "noninteractive"},
    )
    return "installed " + ", ".join(missing)


def _folder(spec: str) -> str:
    return spec.replace("@", "").replace("/", "-")


def _fetch_npm(package: pins.NpmPackage, target: Path) -> None:
    try:
        run(["npm", "pack", "--silent", package.spec], cwd=target)
    except StepFailed as error:
        raise PackageMissing(f"npm does not give {package.spec}: {error}") from error
    tarball = next(target.glob("*.tgz"))
    _check_sha256(tarball, package.sha256)
    with tarfile.open(tarball) as archive:
        archive.extractall(target, filter="data")
    tarball.unlink()


def _fetch_deb(name: str, target: Path, cache: Path) -> None:
    env = {} if name == pins.FRAMEWORK_RES else {"APT_CONFIG": str(_bullseye(cache))}
    try:
        if not env:
            run(["apt-get", "update", "-qq"])
        # Without a sandbox: apt's own user may not write into a cache folder.
        run(["apt-get", "-o", "APT::Sandbox::User=root", "download", "-qq", name], cwd=target, env=env)
    except StepFailed as error:
        raise PackageMissing(f"Debian does not give {name}: {error}") from error
    package = next(target.glob("*.deb"))
    if name in pins.BULLSEYE:
        _check_sha256(package, pins.BULLSEYE[name])
    run(["dpkg-deb", "-x", package, target])
    package.unlink()


def _bullseye(cache: Path) -> Path:
    """An apt configuration of its own for Debian 11: the same mirror and keyring, other lists, nothing installed."""
    home = cache / "bullseye"
    config = home / "apt.conf"
    if config.exists():
        return config
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"])
    mirror = next((line for line in listed.split() if "security" not in line), None)
    if mirror is None:
        raise PackageMissing("apt knows no Debian mirror; run apt-get update")
    (home / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
    (home / "sources.list").write_text(f"deb [signed-by={keyring}] {mirror} bullseye main\n")
    aside = home / "apt.conf.part"
    aside.write_text(
        f'Dir::Etc::SourceList "{home}/sources.list";\nDir::Etc::SourceParts "/dev/null";\n'
        f'Dir::State::Lists "{home}/lists";\nDir::Cache "{home}/cache";\nAcquire::Languages "none";\n'
    )
    run(["apt-get", "update", "-qq"], env={"APT_CONFIG": str(aside)})
    aside.rename(config)
    return config


def _check_sha256(path: Path, expected: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise StepFailed(f"{path.name} has sha256 {found}, pinned is {expected}; do not use it, see tools/pins.py")
