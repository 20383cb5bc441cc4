"""What a phrase of a prompt says of CelebA's attributes: stated, negated, or said of a thing and so not read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evenface.prompts import lexicon
from evenface.prompts.levels import Remarks
from evenface.taxonomy import HAIR_COLOURS

#: Adjectives that may stand between another one and the part of a face it is said of ("big red lips").
_MORE = (
    r"(?:(?:,? and)? (?:beautiful|big|black|blond|brown|bulbous|chiselled|chiseled|crooked|dark|defined|dramatic|freckled|full|"
    r"glossy|gr[ae]y|hooked|juicy|large|light|long|luscious|matte|natural|pale|pink|plump|pouty|red|rosy|round|sculpted|sensual|"
    r"sharp|smooth|soft|straight|thick|thin|white|wide))*"
)
_VERY = r"(?:very |quite |rather |slightly |noticeably |a (?:bit|little) )?"


def _part(described: str, part: str, with_part: str = "") -> str:
    """The pattern of a part of the face: "bushy grey brows", "brows are bushy", "bushy-browed" (``with_part``)."""
    joined = rf"|(?:{described})[- ](?:{with_part})" if with_part else ""
    return rf"(?:{described}){_MORE} (?:{part})|(?:{part}) (?:is|are|looks?) {_VERY}(?:{described}){joined}"


_HATS = (
    r"hats?|beanies?|berets?|fedoras?|sombreros?|bonnets?|stetsons?|trilby|ushanka|deerstalker|"
    r"(?:baseball|flat|newsboy|trucker|peaked|bucket|knit(?:ted)?|wool(?:l?en|ly)?|snapback|golf|ski|sailor|captain|officer|police|"
    r"military)(?: 's|'s)? caps?|(?<=wearing a )(?:\w+ )?cap|(?<=wears a )(?:\w+ )?cap|(?<=in a )(?:\w+ )?cap"
)
#: Phrase (regular expression, whole words) and the attribute with the value it asks for; hair is read by :func:`_hair`.
ATTRIBUTE_PHRASES: tuple[tuple[str, str, int], ...] = (
    (r"bald(?:[- ]headed)?|shave[dn] (?:bald|head)|shave[dn][- ]headed|head (?:is )?(?:cleanly )?shave[dn]", "Bald", 1),
    (
        r"bangs|(?:blunt|straight|side[- ]swept|wispy|choppy|curtain|hair) fringe|(?:thick|full|short|long|heavy|soft|feathered) fringe(?! \w)|fringe of hair|with an? fringe$",
        "Bangs",
        1,
    ),
    (rf"receding{_MORE} hair(?: ?lines?)?|hairline is receding", "Receding_Hairline", 1),
    (r"sideburns|mutton ?chops", "Sideburns", 1),
    (r"beardless|(?:clean(?:ly)?|smooth|freshly)[- ]?shave[dn](?![- ]head)", "No_Beard", 1),
    (r"goatee[ds]?", "Goatee", 1),
    (r"m(?:o)?ustach(?:es?|ed|ioed)", "Mustache", 1),
    (r"(?:5|five) ?o'?clock shadow|stubble|stubbly|unshave[dn]", "5_o_Clock_Shadow", 1),
    (r"beard|bearded|facial hair", "No_Beard", -1),
    (r"(?:eye)?glasses|spectacles|eye ?wear|bespectacled", "Eyeglasses", 1),
    (_HATS, "Wearing_Hat", 1),
    (r"hatless", "Wearing_Hat", -1),
    (r"lipstick", "Wearing_Lipstick", 1),
    (
        rf"(?:heavy|bold|dramatic|thick|glamorous|excessive){_MORE}(?: smoke?y| winged)?(?: eye| evening)? make[- ]?up|full face of make[- ]?up|"
        r"heavily made[- ]up",
        "Heavy_Makeup",
        1,
    ),
    (r"make[- ]?up[- ]free|bare[- ]faced", "Heavy_Makeup", -1),
    (r"ear ?rings?", "Wearing_Earrings", 1),
    (r"necklaces?", "Wearing_Necklace", 1),
    (r"neck ?ties?|tie", "Wearing_Necktie", 1),
    (
        r"smiling|smiles?|grin(?:s|ning)?|laugh(?:s|ing)?|giggling|chuckling|beaming(?! (?:sun|light|down))|"
        r"beams(?= (?:at|with|as|into|broadly|widely|proudly|happily)\b)",
        "Smiling",
        1,
    ),
    (r"unsmiling", "Smiling", -1),
    (
        r"mouth (?:is )?(?:slightly |half |wide |partly )?(?:open|agape)|open(?:ed)? mouth|open[- ]mouthed|"
        r"parted lips|lips (?:are )?(?:slightly |gently |partly )?(?:parted|open)",
        "Mouth_Slightly_Open",
        1,
    ),
    (
        r"mouth (?:is )?(?:closed|shut)|closed[- ]mouth(?:ed)?|lips (?:are )?(?:closed|together|sealed|pressed together|shut)|closed lips",
        "Mouth_Slightly_Open",
        -1,
    ),
    (_part("high", "cheekbones?"), "High_Cheekbones", 1),
    (_part("bushy|thick", "(?:eye ?)?brows", "browed"), "Bushy_Eyebrows", 1),
    (_part("arched", "(?:eye ?)?brows"), "Arched_Eyebrows", 1),
    (_part("big|full|plump|large|thick", "lips", "lipped"), "Big_Lips", 1),
    (_part("big|large|huge|broad|wide|bulbous", "nose", "nosed"), "Big_Nose", 1),
    (_part("pointy|pointed", "nose", "nosed"), "Pointy_Nose", 1),
    (_part("narrow", "eyes", "eyed"), "Narrow_Eyes", 1),
    (r"bags (?:under|below|beneath) (?:(?:the|his|her|their) )?eyes|(?:under[- ])?eye[- ]bags", "Bags_Under_Eyes", 1),
    (_part("oval(?:[- ]shaped)?", "face", "faced"), "Oval_Face", 1),
    (_part("pale", "skin|complexion", "skinned"), "Pale_Skin", 1),
    (_part("rosy", "cheeks", "cheeked"), "Rosy_Cheeks", 1),
    (r"chubby|overweight|obese|heavy-?set|portly", "Chubby", 1),
    (r"double[- ]chin(?:ned)?", "Double_Chin", 1),
)
#: These say something only where they are negated: "no makeup".
_IF_NEGATED: tuple[tuple[str, str, int], ...] = ((r"make[- ]?up", "Heavy_Makeup", 1),)
#: Attributes that :func:`_hair` reads.
HAIR_ATTRIBUTES = (*HAIR_COLOURS.values(), "Straight_Hair", "Wavy_Hair")

#: An attribute whose words also name a thing: what stands before or after them there.
_THING_BEFORE = {
    "Eyeglasses": r"(?:wine|champagne|shot|drinking|beer|cocktail|martini|water|whisky|whiskey|pint|magnifying|opera|field|"
                  r"empty|full|two|three|four|several|some|many|clinking|(?:tray|set|row|shelf|stack|tower|pile|crate) of|\d) ",
    "Wearing_Hat": r"(?:mad|\d) ",
    "Bangs": r"(?:big|he|she|it|who) ",
    "Smiling": r"(?:to|makes? \w+|fake) ",
    "Wearing_Necktie": r"(?:bow|hair|zip|cable|twist|rope|railroad|rail|curtain|to|that|they|who)[- ]",
    "Mustache": r"milk ",
    "No_Beard": r"(?:shaves|shaved|shaving)(?: off)? (?:his|her|the|their) ",
    "Chubby": r"(?:cat|dog|baby|puppy) ",
}  # fmt: skip
_THING_AFTER = {
    "Eyeglasses": r" (?:of|case|frame|shop|store|full|filled)\b",
    "Wearing_Hat": r"[ -](?:rack|shop|store|stand|box|maker|trick|pin|factory|on a hook|designer)\b",
    "Bald": r"[ -](?:eagles?|cypress|tires?|tyres?|mountain|spot|patch|cap)\b",
    "No_Beard": r" (?:oil|trimmer|comb|dragon|vulture|seal|collie|iris|wax)\b",
    "Bangs": r" (?:on|the|his|her|a|into|against)\b",
    "Smiling": r" (?:emoji|icon|logo|sticker|sun|buddha|lines?|wrinkles|gas|hyena|gull|stock|dental)\b",
    "Wearing_Lipstick": r"[ -](?:tube|tubes|mark|marks|stain|ad|advert|collection|product|red|smeared|stained)\b",
    "Heavy_Makeup": r" (?:artist|brush|table|kit|bag|mirror|counter|tutorial|remover)\b",
    "Wearing_Necktie": r"(?:[ -](?:dye|dyed|fighter|beam|game|clip|rack|pin|shop|up|the|his|her|back|between)\b|-)",
    "Wearing_Earrings": r" (?:case|box|stand|display|shop|holder)\b",
    "Wearing_Necklace": r" (?:case|box|stand|display|shop|holder)\b",
    "5_o_Clock_Shadow": r" (?:field|burning)\b",
}  # fmt: skip
#: Handled, or lying somewhere: not worn.
_NOT_WORN_BEFORE = re.compile(
    r"\b(?:next to|beside|near|hold(?:s|ing)|carr(?:ies|ying)|clean(?:s|ing)|sell(?:s|ing)|making|painting|remov(?:es|ing|ed)|"
    r"tak(?:es|ing|en) off|took off|lost|pick(?:s|ing) up|adjust(?:s|ing)|tipping|tips|throw(?:s|ing)|looking for|reaching for|buying|trying on)"
    r"(?: [\w'-]+){0,5} $"
)  # fmt: skip
_NOT_WORN_AFTER = re.compile(
    r" (?:(?:lying |hanging |placed |sitting )?(?:on|in|under|beside|next to|near|and a \w+ on) (?:an?|the|his hands?|her hands?|hand)"
    r"(?! (?:head|nose|face))|and a pair of|(?:removed|(?:taken |set )?off)(?! (?:his|her|the) face))\b"
)  # fmt: skip
#: What is put on, and may lie somewhere instead.
WORN = frozenset(
    ("Eyeglasses", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Earrings", "Wearing_Necklace", "Wearing_Necktie")
)

#: A negation reaches so many words, unless a new statement begins.
_NEGATED = re.compile(
    r"\b(?P<sign>no|not|never|without|lacks?|lacking|minus|sans|nor|neither|free of|devoid of)"
    r"(?P<between>(?: (?!but\b|with\b|and\b|while\b|however\b)[\w'/-]+){0,4}) ?$"
)
_NEGATES_AGAIN = re.compile(r" (?:no|not|never|without|lacking)\b")  # fmt: skip
#: Between yes and no.
_HEDGED = re.compile(
    r"\b(?:barely|almost|nearly|hardly|maybe|fake|trying not to|about to|half|slightly|"
    r"(?:hint|trace|touch|ghost|suggestion|beginnings?) of(?: an?)?)(?: \w+)? $"
)

_HAIR_NOUNS = frozenset(
    "hair hairs hairstyle haircut hairdo bob curls locks ponytail pigtails braids braid bun afro pixie".split()
)
#: Of these a colour alone may be that of a thing ("a black bun", "silver locks").
_STYLES = frozenset("bob bun locks curls pixie".split())
_HAIR_THINGS = frozenset(
    "tie ties ribbon ribbons clip clips pin pins band bands brush dryer salon bow bows ornament ornaments "
    "accessory accessories net gel dye product products scrunchie oil spray comb removal".split()
)
_HAIR_WORDS = frozenset(
    "long short medium curly wavy straight thick thin fine shiny silky messy tousled tied braided loose "
    "flowing beautiful sleek wet greasy spiky shaggy shoulder length waist chin neck cropped slicked back "
    "layered natural very dark light dirty ash ashy platinum golden honey sandy jet raven chestnut chocolate "
    "caramel dyed soft smooth fluffy frizzy kinky coarse lush neat neatly combed windswept big voluminous "
    "bright deep bob ponytail bun pixie afro cut style styled unkempt well kept parted side high low hair "
    "flat plaited pulled swept up @young @middle_aged @senior beautifull glossy perfect gorgeous pretty "
    "unruly wild fair flaxen ebony pin blunt brushed trimmed half dishevelled disheveled".split()
)
#: A word for a colour of hair and the attribute it asks for, "" where there is none.
_SHADES: dict[str, str] = {
    **dict.fromkeys(
        "red white blue pink green purple ginger auburn orange teal violet copper strawberry reddish "
        "grayish greyish blackish brownish salt pepper rainbow multicolored multicoloured turquoise burgundy "
        "graying greying".split(),
        "",
    ),
    **HAIR_COLOURS, "blonde": "Blond_Hair", "blondes": "Blond_Hair", "grey": "Gray_Hair", "blak": "Black_Hair",
    "brunette": "Brown_Hair", "silver": "Gray_Hair",
}  # fmt: skip
#: Words that name a colour of hair where no other does ("raven hair", but "golden brown hair").
_TINTS: dict[str, str] = {
    **dict.fromkeys("golden fair flaxen platinum".split(), "Blond_Hair"),
    **dict.fromkeys("chestnut chocolate".split(), "Brown_Hair"),
    **dict.fromkeys("raven jet ebony".split(), "Black_Hair"),
}
#: Nouns for somebody with hair of a colour.
_CALLED_AFTER_HAIR = {"blond": "Blond_Hair", "blonde": "Blond_Hair", "brunette": "Brown_Hair"}
#: Said of the person, not of a part or thing, where a noun for a person follows or none.
_BUILDS = frozenset(("fat", "plump"))
_TWO_COLOURED = frozenset(
    "highlights streaks streak tips roots ends ombre balayage streaked fading temples turning lowlights strands".split()
)
_BODY_HAIR = frozenset("facial chest body pubic arm leg nose ear back".split())


def _compiled(phrases: Sequence[tuple[str, str, int]]) -> list[tuple[re.Pattern[str], str, int]]:
    return [(re.compile(rf"\b(?:{pattern})\b"), name, value) for pattern, name, value in phrases]


_STATED = [(*one, False) for one in _compiled(ATTRIBUTE_PHRASES)] + [(*one, True) for one in _compiled(_IF_NEGATED)]
_BEFORE = {name: re.compile(rf"\b{pattern}$") for name, pattern in _THING_BEFORE.items()}
_AFTER = {name: re.compile(pattern) for name, pattern in _THING_AFTER.items()}


def stated_attributes(phrase: str, words: Sequence[str], remarks: Remarks) -> list[tuple[str, int]]:
    """The attributes that a lower-case ``phrase`` without commas asks for (1) or excludes (-1); ``words`` are its words."""
    found: list[tuple[str, int]] = []
    for pattern, name, value, only_negated in _STATED:
        for match in pattern.finditer(phrase):
            before, after = phrase[: match.start()], phrase[match.end() :]
            if (name in _BEFORE and _BEFORE[name].search(before)) or (name in _AFTER and _AFTER[name].match(after)):
                continue
            if name in WORN and (_NOT_WORN_BEFORE.search(before) or _NOT_WORN_AFTER.match(after)):
                continue
            if (
                name == "Smiling"
                and after.startswith(" face")
                and not any(word in lexicon.PEOPLE or word in lexicon.PRONOUNS for word in words)
            ):
                continue  # a sun or a mug has a smiling face too
            if _HEDGED.search(before):
                remarks.doubt(f"{match[0]!r} is hedged; {name} is left open", name)
                continue
            negated = _negates(before)
            if negated or not only_negated:
                found.append((name, -value if negated else value))
    return [*found, *_hair(words, remarks)]


def _negates(before: str) -> bool:
    """Whether the words ``before`` a phrase negate it; "never without lipstick" does not."""
    match = _NEGATED.search(before)
    return match is not None and len(_NEGATES_AGAIN.findall(match["between"])) % 2 == 0


def _hair(words: Sequence[str], remarks: Remarks) -> Iterator[tuple[str, int]]:
    """Colour and form of hair: "long black curly hair", "black-haired", "hair is black", "a blonde"."""
    for i, word in enumerate(words):
        if word in _HAIR_NOUNS or word == "haired":
            follows = words[i + 1] if i + 1 < len(words) else None
            bare = word in _STYLES and not (
                follows is None or follows in lexicon.FUNCTION or {"hair", "haircut"} & set(words[:i])
            )
            if not bare and follows not in _HAIR_THINGS and follows not in _HAIR_NOUNS:
                yield from _one_hair(words, i, remarks)
        elif word in _CALLED_AFTER_HAIR and _is_person(words, i):
            yield _CALLED_AFTER_HAIR[word], -1 if _negated(words, i) else 1
        elif word in _BUILDS and _is_person(words, i):
            yield "Chubby", -1 if _negated(words, i) else 1


def _negated(words: Sequence[str], start: int) -> bool:
    return any(word in lexicon.NEGATIONS for word in words[max(0, start - 2) : start])


def _one_hair(words: Sequence[str], place: int, remarks: Remarks) -> Iterator[tuple[str, int]]:
    """The hair whose noun stands at ``place``."""
    start = place
    while start and (words[start - 1] in _SHADES or words[start - 1] in _HAIR_WORDS or _joins(words, start - 1)):
        start -= 1
    if start and words[start - 1] in _BODY_HAIR:
        return
    described = list(words[start:place])
    coloured = any(word in _SHADES or word in _TINTS for word in described)
    described += [word for word in _after(words, place) if not coloured or word in ("straight", "wavy")]
    shades = [word for word in described if word in _SHADES]
    colours = {_SHADES[word] for word in shades} or {_TINTS[word] for word in described if word in _TINTS}
    if any(word in _TWO_COLOURED for word in words[start : place + 6]):
        colours.add("")
    sign = -1 if _negated(words, start) else 1
    if len(colours) == 1 and "" not in colours:
        yield colours.pop(), sign
    elif len(colours) > 1:
        remarks.doubt(
            f"{' '.join(words[start : place + 1])!r}: hair of several colours; its colour is left open",
            *HAIR_COLOURS.values(),
        )
    for form in ("straight", "wavy"):
        if form in described:
            yield f"{form.capitalize()}_Hair", sign


def _joins(words: Sequence[str], place: int) -> bool:
    """Whether "and" at ``place`` joins two words for hair."""
    around = words[max(place - 1, 0) : place + 2]
    return (
        words[place] in ("and", "or")
        and place > 0
        and all(word in _SHADES or word in _HAIR_WORDS for word in (around[0], around[-1]))
    )


def _after(words: Sequence[str], place: int) -> list[str]:
    """What is said after the noun: "hair is jet black", "hair black and tied", "hair is brown and straight"."""
    said = (_SHADES, _TINTS, ("straight", "wavy"))
    k = place + 1
    while k < len(words) and (
        any(words[k] in one for one in said)
        or words[k] in ("is", "was", "color", "colour", "dark", "light")
        or (words[k] == "and" and k + 1 < len(words) and any(words[k + 1] in one for one in said))
    ):
        k += 1
    whole = k == len(words) or words[k] in lexicon.FUNCTION
    return [word for word in words[place + 1 : k] if any(word in one for one in said)] if whole else []


def _is_person(words: Sequence[str], place: int) -> bool:
    """Whether "blond" stands for a person, or for the hair of the person who follows."""
    k = place + 1
    while k < len(words) and (
        lexicon.describes(words[k]) or lexicon.adjective(words[k]) or words[k] in lexicon.COMPOUNDS
    ):
        k += 1
    if k < len(words):
        return words[k] in lexicon.PEOPLE or (
            k == place + 1 and place > 0 and words[k] in lexicon.FUNCTION and words[k] not in ("and", "or")
        )
    k = place - 1
    while k >= 0 and (
        words[k] in _HAIR_WORDS
        or words[k] in lexicon.QUALITIES
        or words[k] in lexicon.COMPOUNDS
        or (words[k + 1] in lexicon.COMPOUNDS and lexicon.adjective(words[k]))
    ):
        k -= 1
    return k < 0 or words[k] in lexicon.DETERMINERS
