"""The tools that check the Android app: each finds a planted mistake."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from android_demo.tools import layout, pins
from android_demo.tools.__main__ import STEPS, Step, _run
from android_demo.tools.api_check import Api, levels, read_allowed
from android_demo.tools.api_listing import read_listing
from android_demo.tools.catalogue import check_catalogue
from android_demo.tools.class_file import Reference, read_jar
from android_demo.tools.shell import PackageMissing, StepFailed, run
from android_demo.tools.toolchain import Toolchain, _check_sha256

LISTING = """
declare module android {
    export module os {
        export class Thing<T> extends android.os.Base<java.util.Map<T,any>> implements android.os.Named {
            public static class: java.lang.Class<android.os.Thing<any>>;
            /** @since 29 */
            public newer(values: java.util.Map<java.lang.Integer,java.lang.Float>, count: number): void;
            public constructor(name: string);
            public size: number;
        }
        export abstract class Base<T>  extends java.lang.Object {
            /**
             * @since 23
             *  @deprecated */
            public inherited(): void;
        }
        export class Named extends java.lang.Object {
            public constructor(implementation: {
                getName(): string;
            });
            public constructor();
            /** @since 35 */
            public getName(): string;
        }
        export module Thing {
            /** @since 31 */
            export class Inner extends java.lang.Object {
                public constructor();
            }
        }
    }
}
declare module java {
    export module lang {
        export class Object {
            public constructor();
        }
        export class String extends java.lang.Object {
        }
    }
}
"""
STUBS = {
    "Base": "public abstract class Base { public void inherited() {} }",
    "Thing": """public class Thing extends Base {
        public int size;
        public Thing(String name) {}
        public void newer(Object values, int count) {}
        public void gone() {}
        public String getName() { return ""; }
        public static class Inner {}
    }""",
}
USER = """
class User extends android.os.Base {
    int use(android.os.Thing[] things) {
        new android.os.Thing("x").newer(null, 1);
        new android.os.Thing.Inner();
        inherited();
        own();
        things[0].gone();
        return things[0].size + things[0].getName().length();
    }
    void own() {}
}
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[str, int | None]:
    """Levels of what a small Java class refers to."""
    if shutil.which("javac") is None:
        pytest.skip("no javac on this machine; make android installs one")
    folder = tmp_path_factory.mktemp("api")
    (folder / "android" / "os").mkdir(parents=True)
    for name, text in STUBS.items():
        (folder / "android" / "os" / f"{name}.java").write_text(f"package android.os; {text}")
    (folder / "User.java").write_text(USER)
    listing = folder / "listing.d.ts"
    listing.write_text(LISTING)
    subprocess.run(["javac", "-d", folder, folder / "User.java"], cwd=folder, check=True)
    jar = folder / "user.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        archive.write(folder / "User.class", "User.class")
    return dict(levels(Api(read_listing(listing), read_jar(jar))))


def test_references_are_found_with_their_levels(found):
    assert found["android.os.Thing.newer/2"] == 29
    assert found["android.os.Thing.<init>/1"] == 1
    assert found["android.os.Thing$Inner.<init>/0"] == 31
    assert found["android.os.Thing.getName/0"] == 35, "it comes from an interface"
    assert found["User.inherited/0"] == 23
    assert found["android.os.Thing.size"] == 1


def test_what_is_not_in_the_api_is_found(found):
    assert found["android.os.Thing.gone/0"] is None
    assert found["java.lang.String.length/0"] is None
    assert "User.own/0" not in found


def test_arity_tells_overloads_apart(tmp_path):
    (tmp_path / "listing").write_text(LISTING)
    api = Api(read_listing(tmp_path / "listing"), {})
    assert api.level(Reference("android.os.Thing", "newer", 2)) == 29
    assert api.level(Reference("android.os.Thing", "newer", 1)) is None
    assert api.level(Reference("android.os.Thing", "size", None)) == 1


def test_allowed_references_name_their_guard():
    lines = (layout.DEMO / "newer-than-min-sdk.txt").read_text().splitlines()
    entries = [line for line in lines if not line.startswith("#")]
    assert len(read_allowed(layout.DEMO / "newer-than-min-sdk.txt")) == len(entries) > 0
    assert all("#" in line for line in entries)


def test_the_catalogue_fits_the_build_files():
    assert "entries" in check_catalogue()


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("app/build.gradle.kts", "libs.litertlm.android", "libs.litertlm.ios", "libs.litertlm.ios is used"),
        ("app/build.gradle.kts", "minSdk = 31", "minSdk = 30", "minSdk is ['30']"),
        ("gradle/libs.versions.toml", 'kotlin = "2.4.20"', 'kotlin = "2.3.0"', "kotlin is 2.3.0"),
        ("gradle/libs.versions.toml", 'version.ref = "litertlm"', 'version.ref = "lm"', "version lm is not defined"),
        ("gradle/libs.versions.toml", "junit-jupiter =", "junit-saturn =", "libs.junit.saturn is defined and not used"),
    ],
)
def test_a_catalogue_that_does_not_fit_is_refused(file, old, new, said, tmp_path):
    for path in [*layout.DEMO.rglob("*.gradle.kts"), layout.DEMO / "gradle" / "libs.versions.toml"]:
        target = tmp_path / path.relative_to(layout.DEMO)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    text = (tmp_path / file).read_text()
    assert old in text
    (tmp_path / file).write_text(text.replace(old, new))
    with pytest.raises(StepFailed, match="agree") as refused:
        check_catalogue(tmp_path)
    assert said in str(refused.value)


def test_one_file_knows_the_runtime():
    knowing = [path for path in layout.kotlin_files(layout.APP) if "com.google.ai.edge.litertlm" in path.read_text()]
    assert [path.name for path in knowing] == ["LiteRtLm.kt"]
    assert len(knowing[0].read_text().splitlines()) < 80
    assert not any("android." in path.read_text() for path in layout.kotlin_files(layout.CORE / "main"))


def test_a_tool_with_another_checksum_is_refused(tmp_path):
    tarball = tmp_path / "kotlin.tgz"
    tarball.write_bytes(b"not the compiler")
    with pytest.raises(StepFailed, match="do not use it"):
        _check_sha256(tarball, pins.KOTLIN.sha256)


def test_a_fetch_that_fails_leaves_nothing_that_looks_whole(tmp_path):
    def fetch(target: Path) -> None:
        (target / "half").write_text("")
        raise PackageMissing("gone")

    tools = Toolchain(tmp_path)
    with pytest.raises(PackageMissing):
        tools._once("npm", "thing", fetch)
    assert not (tmp_path / "npm" / "thing").exists()
    whole = tools._once("npm", "thing", lambda target: (target / "whole").write_text(""))
    assert [path.name for path in whole.iterdir()] == ["whole"]


def refuse(error: Exception):
    def work(tools: Toolchain) -> str:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "required", "held", "said"),
    [
        (PackageMissing("npm does not give it"), False, True, "skipped: npm does not give it"),
        (PackageMissing("npm does not give it"), True, False, "FAILED: npm does not give it"),
        (StepFailed("a warning"), False, False, "FAILED: a warning"),
    ],
)
def test_only_a_step_that_can_do_without_its_package_is_skipped(error, required, held, said, tmp_path, capsys):
    assert _run(Step("lint", refuse(error), required), Toolchain(tmp_path)) is held
    assert said in capsys.readouterr().out


def test_compiling_testing_and_the_api_are_required():
    assert {step.name for step in STEPS if not step.required} == {"ktlint", "apk"}


def test_a_command_that_fails_says_what_it_said():
    with pytest.raises(StepFailed, match=r"(?s)sh ended with 3.*it is broken"):
        run(["sh", "-c", "echo it is broken; exit 3"])
    with pytest.raises(StepFailed, match="not on this machine"):
        run(["no-such-program"])
