"""Links resources, turns the dry flavour into a signed APK, and shows that a second build gives the same bytes."""

import hashlib
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from android_demo.tools import layout, pins
from android_demo.tools.shell import StepFailed, run
from android_demo.tools.toolchain import Toolchain

FIXED_TIME = (1980, 1, 1, 0, 0, 0)
PASSWORD = "pass:edge-mtp-dry"
PACKAGE = "edgemtp.demo.dry"
KEPT = ("uses-native-library", "libOpenCL.so", "libvndksupport.so")


def link_resources(tools: Toolchain, output: Path | None = None) -> str:
    """Manifest and resources, as AAPT sees them; the native libraries must be in what comes out."""
    target = output or layout.BUILD / "resources.apk"
    compiled = layout.BUILD / "resources.zip"
    run(["aapt2", "compile", "--dir", layout.APP / "main" / "res", "-o", compiled])
    run(
        ["aapt2", "link", "--warn-manifest-validation", "-I", tools.framework, "--manifest", manifest(), "-o", target,
         "--min-sdk-version", str(pins.MIN_SDK), "--target-sdk-version", str(pins.TARGET_SDK),
         "--version-code", "1", "--version-name", version_name(), "--rename-manifest-package", PACKAGE, compiled],
    )  # fmt: skip
    tree = run(["aapt2", "dump", "xmltree", "--file", "AndroidManifest.xml", target])
    missing = [word for word in KEPT if word not in tree]
    if missing:
        raise StepFailed(f"the linked manifest has lost {', '.join(missing)}")
    return "manifest and resources"


def manifest() -> Path:
    """The manifest with the package name, which Gradle takes from the build file and aapt2 from the manifest."""
    source = (layout.APP / "main" / "AndroidManifest.xml").read_text()
    target = layout.BUILD / "AndroidManifest.xml"
    target.write_text(source.replace("<manifest ", '<manifest package="edgemtp.demo" ', 1))
    return target


def version_name() -> str:
    """As the build file says it."""
    found = re.search(r'versionName = "([^"]+)"', (layout.DEMO / "app" / "build.gradle.kts").read_text())
    if found is None:
        raise StepFailed("app/build.gradle.kts has no versionName")
    return found.group(1)


def build_apk(tools: Toolchain) -> str:
    """The signed APK of the dry flavour; StepFailed where signature or contents are wrong or a second build differs."""
    apk = _build(tools, layout.BUILD / "first")
    again = _build(tools, layout.BUILD / "second")
    digests = {hashlib.sha256(one.read_bytes()).hexdigest() for one in (apk, again)}
    if len(digests) != 1:
        raise StepFailed(f"two builds gave different bytes: {sorted(digests)}")
    _check(apk)
    final = layout.BUILD / "edge-mtp-dry.apk"
    shutil.copyfile(apk, final)
    size_mb = final.stat().st_size / 1e6
    return f"{final.relative_to(layout.ROOT)}, {size_mb:.2f} MB, sha256 {digests.pop()[:16]}, the same twice"


def _build(tools: Toolchain, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    resources, unsigned, aligned = folder / "resources.apk", folder / "unsigned.apk", folder / "app.apk"
    link_resources(tools, resources)
    dex = folder / "classes.dex"
    _dex(tools, [layout.app_jar("dry"), layout.CORE_JAR], dex)
    with zipfile.ZipFile(resources) as source, zipfile.ZipFile(unsigned, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(source.namelist()):
            _add(target, name, source.read(name), stored=name == "resources.arsc")
        _add(target, "classes.dex", dex.read_bytes())
        _add(target, "classes2.dex", _library_dex(tools).read_bytes())
    run(["zipalign", "-f", "-p", "4", unsigned, aligned])
    run(
        [
            "apksigner",
            "sign",
            "--ks",
            _keystore(tools),
            "--ks-pass",
            PASSWORD,
            "--min-sdk-version",
            str(pins.MIN_SDK),
            aligned,
        ]
    )
    return aligned


def _library_dex(tools: Toolchain) -> Path:
    """Kotlin's own library, which stays the same: converted once, a dex file of its own."""
    target = tools.cache / f"kotlin-stdlib-{pins.KOTLIN_VERSION}.dex"
    if not target.exists():
        aside = target.with_name("kotlin-stdlib-part.dex")
        _dex(tools, tools.kotlin_jars("kotlin-stdlib"), aside)
        aside.rename(target)
    return target


def _dex(tools: Toolchain, jars: Sequence[Path], target: Path) -> None:
    """Android bytecode of `jars`, merged into one first; dx knows no classes of other Java versions."""
    merged = target.with_suffix(".jar")
    with zipfile.ZipFile(merged, "w") as archive:
        for jar in jars:
            with zipfile.ZipFile(jar) as source:
                for name in sorted(source.namelist()):
                    if name.endswith(".class") and not name.startswith("META-INF/") and name != "module-info.class":
                        _add(archive, name, source.read(name), stored=True)
    heap = ["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    dx = ["com.android.dx.command.Main", "--dex", "--min-sdk-version=26", f"--output={target}", str(merged)]
    run(["java", *heap, "-cp", tools.dx_jar, *dx])
    merged.unlink()


def _add(archive: zipfile.ZipFile, name: str, content: bytes, stored: bool = False) -> None:
    entry = zipfile.ZipInfo(name, FIXED_TIME)
    entry.compress_type = zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
    archive.writestr(entry, content)


def _keystore(tools: Toolchain) -> Path:
    """A key of this machine's own; an APK of another machine has another one, so uninstall before changing over."""
    key = tools.cache / "dry.keystore"
    if not key.exists():
        aside = key.with_suffix(".part")
        aside.unlink(missing_ok=True)
        subject = ["-alias", "dry", "-dname", "CN=edge_mtp dry", "-validity", "10000"]
        store: list[str | Path] = ["-keystore", aside, "-storepass", PASSWORD.removeprefix("pass:")]
        run(["keytool", "-genkeypair", "-keyalg", "RSA", "-keysize", "2048", *subject, *store])
        aside.rename(key)
    return key


def _check(apk: Path) -> None:
    verified = run(["apksigner", "verify", "--verbose", "--min-sdk-version", "24", apk])
    schemes = ("Verified using v2 scheme (APK Signature Scheme v2): true", "(APK Signature Scheme v3): true")
    badging = run(["aapt2", "dump", "badging", apk])
    wanted = (f"package: name='{PACKAGE}'", f"sdkVersion:'{pins.MIN_SDK}'", f"targetSdkVersion:'{pins.TARGET_SDK}'",
              "launchable-activity: name='edgemtp.demo.MainActivity'")  # fmt: skip
    missing = [word for word in schemes if word not in verified] + [word for word in wanted if word not in badging]
    if missing:
        raise StepFailed(f"the APK lacks {missing}; found:\n{verified}\n{badging}")
