import Foundation
import Testing

@testable import EdgeMTPKit

struct JSONTests {
  @Test func writesAsPythonDoes() throws {
    let value = JSON.object([
      "b": .text("a\"\\/\n\t\u{8}\u{c}\r\u{1}\u{7f}ß🙂"), "a": .list([.integer(1), .number(0.5), .bool(true), .null]),
      "gone": nil,
    ])
    #expect(value.compact() == #"{"b":"a\"\\/\n\t\b\f\r\u0001"# + "\u{7f}" + #"ß🙂","a":[1,0.5,true,null]}"#)
    #expect(try JSON.parse(Data(value.compact().utf8)) == value)
  }

  @Test func tellsKindsApart() throws {
    let json = try JSON.parse(Data(#"{"i":3,"w":3.0,"f":3.5,"t":"x","y":true,"n":null,"l":[1],"o":{"k":2}}"#.utf8))
    #expect(json["i"]?.integer == 3 && json["w"]?.integer == 3 && json["f"]?.integer == nil)
    #expect(json["i"]?.number == 3 && json["f"]?.number == 3.5 && json["t"]?.number == nil)
    #expect(json["y"]?.bool == true && json["i"]?.bool == nil && json["i"]?.text == nil)
    #expect(json["n"] == .null && json["l"]?.list == [.integer(1)] && json["l"]?.fields == nil)
    #expect(json["o"]?["k"] == .integer(2) && json["l"]?["k"] == nil && json["t"]?.list == nil)
  }

  @Test func objectsKeepOrderAndDropUnknowns() {
    var fields: Fields = ["z": .integer(1), "a": .optional(Double.nan), "b": .optional(nil as Int?)]
    fields["y"] = .integer(2)
    fields["z"] = .integer(3)
    fields["q"] = nil
    #expect(JSON.object(fields).compact() == #"{"z":3,"y":2}"#)
    fields["z"] = nil
    #expect(fields == ["y": .integer(2)])
    #expect(fields != ["y": .integer(3)])
    #expect(JSON.number(.infinity).compact() == "null")
  }

  @Test(arguments: ["", "{", "nope", "{\"a\":}"]) func refusesWhatIsNotJSON(_ text: String) {
    #expect(throws: DataProblem.self) { try JSON.parse(Data(text.utf8)) }
  }
}

struct SHA256Tests {
  @Test func knownDigests() {
    #expect(SHA256.hex(of: "") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    #expect(SHA256.hex(of: "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(
      SHA256.hex(of: String(repeating: "a", count: 1000))
        == "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3")
  }

  @Test(arguments: [1, 55, 56, 63, 64, 65, 119, 128]) func piecesGiveTheSame(_ size: Int) {
    let bytes = (0..<300).map { UInt8($0 % 251) }
    var whole = SHA256()
    whole.update(bytes)
    var parts = SHA256()
    for start in stride(from: 0, to: bytes.count, by: size) {
      parts.update(bytes[start..<min(start + size, bytes.count)])
    }
    #expect(parts.hex() == whole.hex())
    parts.update([0])
    #expect(parts.hex() != whole.hex())
  }
}
