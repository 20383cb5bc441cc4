"""The words that :mod:`evenface.prompts.reading` knows: nouns for people, and what is said of people.

Levels that a word leaves open are missing. Words of two meanings are left out, or listed under the narrower one.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# --- nouns for people ---

_FEMALE = (
    "woman women lady ladies girl girls female females gal gals lass lassie madam mademoiselle dame damsel maiden "
    "actress actresses waitress waitresses hostess stewardess seamstress governess duchess princess princesses queen "
    "queens empress baroness countess priestess sorceress enchantress goddess goddesses heroine nun nuns bride brides "
    "bridesmaid bridesmaids mermaid mermaids geisha ballerina ballerinas matriarch widow housewife housewives "
    "landlady mother mothers mom moms mum mums mommy mummy mama wife wives sister sisters daughter daughters aunt "
    "aunts auntie niece nieces stepmother stepsister stepdaughter granddaughter granddaughters girlfriend girlfriends "
    "fiancee fiancée mrs cowgirl tomgirl salesgirl policewoman policewomen firewoman businesswoman businesswomen "
    "saleswoman chairwoman congresswoman sportswoman spokeswoman horsewoman anchorwoman camerawoman craftswoman "
    "fisherwoman noblewoman servicewoman congresswomen sportswomen 1girl 2girls 3girls 4girls 1woman 2women filipina "
    "latina chicana señorita señora signora frau usherette majorette suffragette madame missus tomboy heiress mistress headmistress songstress starlet diva "
    "laundress shepherdess milkmaid barmaid housemaid handmaid valkyrie matron spinster debutante showgirl bachelorette "
    "godmother goddaughter stepmom stepmum mama womenfolk herdswoman gentlewoman gentlewomen clanswoman stuntwoman "
    "councilwoman yachtswoman markswoman tribeswoman frontwoman washerwoman needlewoman oarswoman sportswomen "
    "marchioness viscountess abbess maharani tsarina czarina sultana lassies girlie"
)
_MALE = (
    "man men gentleman gentlemen gent boy boys male males guy lad lads dude bloke chap fella waiter waiters duke "
    "prince princes king kings emperor baron monk monks groom bridegroom groomsman groomsmen patriarch widower "
    "landlord father fathers dad dads daddy papa husband husbands brother brothers son sons uncle uncles nephew "
    "nephews stepfather stepbrother stepson grandson grandsons boyfriend boyfriends fiancé mr sir cowboy cowboys "
    "policeman policemen fireman firemen businessman businessmen salesman salesmen fisherman fishermen craftsman "
    "craftsmen workman workmen tradesman repairman handyman chairman congressman sportsman spokesman horseman "
    "huntsman swordsman nobleman clergyman serviceman airman seaman oarsman cameraman anchorman weatherman barman "
    "doorman postman mailman milkman caveman cavemen frontiersman woodsman lumberman mountainman rifleman wingman "
    "bellboy busboy paperboy lord lords pharaoh sheikh emir shogun mister monsieur laddie bachelor headmaster schoolmaster warlock friar abbot pope sultan maharaja "
    "tsar czar viscount earl footman stuntman showman lineman linesman boatman stockman cattleman lawman gunman hitman "
    "conman frontman bandsman hangman infantryman militiaman tribesman clansman kinsman townsman statesman alderman "
    "councilman assemblyman foreman yachtsman marksman longshoreman ferryman batsman ploughman plowman "
    "garbageman trashman linemen lawmen tribesmen clansmen statesmen stuntmen workingman godfather godson "
    "stepdad geezer hubby fellas blokes chaps dudes gents friars abbots 1boy 2boys 3boys 4boys 1man 2men latino chicano señor"
)
_FEMALE_YOUNG = "schoolgirl schoolgirls toddlergirl"
_MALE_YOUNG = "schoolboy schoolboys choirboy"
_FEMALE_SENIOR = (
    "grandmother grandmothers grandma grandmas granny grannies grandmom nana gran abuela abuelita nonna babushka crone"
)
_MALE_SENIOR = "grandfather grandfathers grandpa grandpas granddad grandad gramps abuelo"
_YOUNG = (
    "child children kid kids baby babies infant infants newborn newborns toddler toddlers teen teens teenager "
    "teenagers adolescent adolescents youngster youngsters preschooler preschoolers preteen preteens schoolchild "
    "schoolchildren schoolkid schoolkids youth youths tween tweens schooler schoolers kindergartner kindergartener"
)
_SENIOR = (
    "senior seniors pensioner pensioners retiree retirees grandparent grandparents octogenarian septuagenarian "
    "nonagenarian centenarian sexagenarian octogenarians septuagenarians nonagenarians sexagenarians centenarians "
    "supercentenarian oldster"
)
_OPEN = (
    "person persons people human adult adults individual someone somebody citizen citizens couple couples family "
    "families friend friends lover lovers parent parents sibling siblings cousin cousins twin twins spouse newlyweds "
    "crowd audience group team duo trio pair beauty guys folks lookalike partner partners companion companions "
    "neighbour neighbor neighbours neighbors stranger strangers elder elders colleague colleagues 1person"
)
#: Ranks that "senior" and "junior" are said of, and people whose colour may be that of their dress or piece.
PROFESSIONS = _words(
    "doctor doctors nurse nurses surgeon surgeons physician dentist teacher teachers professor professors student "
    "students scientist scientists researcher researchers engineer engineers developer developers programmer "
    "programmers designer designers architect architects artist artists painter painters sculptor writer writers "
    "author poet poets journalist journalists reporter reporters photographer photographers musician musicians singer "
    "singers rapper drummer guitarist guitarists pianist violinist cellist saxophonist trumpeter conductor composer "
    "dancer dancers actor actors performer performers comedian magician model models cook cooks chef chefs baker "
    "bakers butcher barber barista bartender bartenders farmer farmers gardener gardeners carpenter carpenters mason "
    "blacksmith plumber electrician mechanic mechanics welder worker workers labourer laborer builder builders miner "
    "miners soldier soldiers sailor sailors captain captains pilot pilots astronaut astronauts officer officers "
    "detective detectives cop cops sheriff guard guards firefighter firefighters paramedic paramedics lawyer lawyers "
    "judge judges politician politicians president minister mayor senator ceo manager managers executive executives "
    "boss secretary accountant banker clerk cashier salesperson businessperson entrepreneur employee employees "
    "assistant librarian librarians pharmacist psychologist therapist scholar philosopher priest priests bishop "
    "pastor rabbi imam athlete athletes player players footballer footballers runner runners swimmer swimmers cyclist "
    "cyclists boxer boxers wrestler climber climbers surfer surfers skier skiers skateboarder skater skaters gymnast "
    "gymnasts golfer jogger hiker hikers driver drivers rider riders shopkeeper vendor vendors merchant merchants "
    "trader tailor weaver potter fisher shepherd herder hunter hunters warrior warriors fighter fighters samurai "
    "ninja pirate pirates viking vikings knight knights wizard wizards witch witches sorcerer mage elf elves vampire "
    "vampires zombie hero superhero villain hacker gamer influencer blogger hipster punk goth hippie nomad refugee "
    "refugees immigrant protester tourist tourists traveler traveller commuter commuters pedestrian pedestrians "
    "passenger passengers customer customers patient patients victim prisoner beggar villager villagers tribesperson "
    "peasant servant maid butler nanny supermodel supermodels protagonist character cyborg paladin druid ranger "
    "barbarian rogue bard cleric archer assassin demon angel fairy newscaster presenter host vocalist bassist idol dj "
    "barber stylist hairdresser seller cobbler surveyor inventor explorer scout babysitter coach referee instructor "
    "trainer yogi cheerleader cheerleaders celebrity star speaker leader activist veteran veterans cadet recruit "
    "agent spy thief gangster bodyguard lifeguard mathematician physicist chemist biologist astronomer economist "
    "analyst consultant technician operator guide waitstaff sculptress busker clown acrobat juggler keeper beekeeper zookeeper "
    "innkeeper goalkeeper gatekeeper watchmaker shoemaker dressmaker filmmaker winemaker brewer distiller glassblower "
    "goldsmith silversmith locksmith florist grocer greengrocer fishmonger sommelier jeweller jeweler optician optometrist "
    "vet veterinarian nutritionist radiologist cardiologist pediatrician paediatrician neurosurgeon midwife psychiatrist "
    "caregiver caretaker carer janitor cleaner custodian housekeeper receptionist concierge valet porter trucker "
    "lumberjack logger forester rancher vintner trapper whaler angler diver skipper seafarer deckhand roofer bricklayer "
    "plasterer glazier decorator upholsterer farrier jockey equestrian fencer cricketer striker quarterback linebacker "
    "marathoner sprinter hurdler rower kayaker snowboarder biker bikers motorcyclist racer matador choreographer "
    "contortionist mime puppeteer ventriloquist illusionist mystic shaman deacon vicar chaplain missionary pilgrim pilgrims "
    "hermit guru chauffeur flautist flutist harpist percussionist keyboardist organist novelist playwright essayist "
    "columnist vlogger youtuber streamer podcaster curator historian archaeologist anthropologist geologist botanist "
    "zoologist entomologist paleontologist meteorologist oceanographer astrophysicist statistician stockbroker broker "
    "realtor investor intern interns apprentice apprentices trainee graduate graduates undergraduate sophomore alumnus dean "
    "tutor lecturer governor ambassador diplomat councillor chancellor colonel sergeant lieutenant admiral sniper gunner "
    "medic mercenary gladiator crusader musketeer marshal constable warden inmate convict outlaw bandit burglar smuggler "
    "vagabond hobo drifter backpacker mountaineer alpinist settler homesteader pupil pupils freelancer salesclerk "
    "barkeeper bookseller storyteller fortuneteller shoeshiner goatherd cowherd beekeepers "
    "attendant attendants stewards bookkeeper biochemist neuroscientist sociologist linguist translator interpreter "
    "plumbers carpenters soprano tenor"
)

#: Noun -> what it says: gender, age.
PEOPLE: dict[str, dict[str, str]] = {
    noun: dict(levels)
    for nouns, levels in (
        (_OPEN.split(), {}),
        (PROFESSIONS, {}),
        (_YOUNG.split(), {"age": "young"}),
        (_SENIOR.split(), {"age": "senior"}),
        (_FEMALE.split(), {"gender": "female"}),
        (_MALE.split(), {"gender": "male"}),
        (_FEMALE_YOUNG.split(), {"gender": "female", "age": "young"}),
        (_MALE_YOUNG.split(), {"gender": "male", "age": "young"}),
        (_FEMALE_SENIOR.split(), {"gender": "female", "age": "senior"}),
        (_MALE_SENIOR.split(), {"gender": "male", "age": "senior"}),
        (("elder", "elders"), {"age": "senior"}),
    )
    for noun in nouns
}

#: Nouns that also stand before things and animals ("male lion", "baby elephant", "child seat"): a person only where
#: no other noun follows.
MODIFYING = _words(
    "male males female females baby infant newborn child kid teen senior youth human adult model group team pair star "
    "guide coach guard captain king queen princess prince twin family pilot beauty character scout maiden host angel"
)
#: More than one person, if of people.
COLLECTIVES = _words("group team crowd couple pair duo trio audience family families")
#: Things too, unless something is said of them.
AMBIGUOUS = _words(
    "star model guide host cook judge coach pilot player speaker driver character scout guard conductor team"
)
#: Where others are shown as well, these are the background.
BYSTANDERS = _words(
    "crowd audience people bystanders passersby pedestrians tourists commuters spectators strangers customers"
)
#: Of these a colour is that of the dress, the piece or the genre.
COLOURED_TITLES = _words(
    "knight knights king queen bishop wizard witch witches mage sorcerer sorceress widow rider riders ninja pirate "
    "samurai elf elves vampire mermaid goddess bride geisha prince princess hero villain team star guard groom angel "
    "demon fairy"
)
#: "old friend" says nothing of an age; an older sister may be a child.
NOT_AGED = _words(
    "friend friends colleague colleagues lover lovers partner partners companion companions guard star band team"
)
#: "older" says an age of these.
AGED = _words("man men woman women person people gentleman lady couple adult adults male female")
#: Young if they are little, open otherwise: grown-ups are called so too.
GROWING = _words("girl girls boy boys")
KIN = _words(
    "brother brothers sister sisters sibling siblings son sons daughter daughters child children kid kids cousin "
    "cousins boy boys girl girls twin twins"
)
#: After these, or a possessive, the face or body of a person is meant.
BODY = _words(
    "face faces head portrait portraits headshot headshots profile silhouette bust hand hands eye eyes smile hair "
    "lips skin body figure photo photograph photography picture image selfie closeup shot expression shoulders back "
    "focus"
)
#: After a job or role, dress and style: the job is none of somebody shown ("in a punk jacket", "pirate vibe").
STYLES = _words(
    "jacket jackets hat hats dress dresses suit suits costume costumes uniform uniforms outfit outfits shirt shirts t-shirt boots "
    "coat coats robe robes gown gowns helmet helmets apron trousers pants jeans scarf vest sweater sweaters cap caps "
    "style styles styled vibe vibes aesthetic aesthetics look mood core inspired fashion theme themed cosplay "
    "makeup make-up haircut hairstyle hair ship ships boat boats song songs music album movie movies film films poster games game joke jokes"
)
#: Before dress and style these still stand for somebody shown.
ANYBODY = _words(
    "woman man women men girl boy girls boys lady ladies gentleman guy person people 1girl 1boy 2girls 2boys"
)
#: Animals have these too: "a brown bear mother", "an elephant with its mother".
KIN_OF_ANIMALS = _words(
    "mother mothers father fathers mom mum dad mommy mummy daddy parent parents baby babies brother brothers sister sisters "
    "sibling siblings family child children queen king male female males females son daughter"
)
#: Nouns that make a person's noun before them part of a thing or an animal.
THINGS = _words(
    "band bands bun buns cave caves bag bags shower showers room rooms toilet toilets restroom restrooms bathroom "
    "bike bikes bicycle bicycles carriage stroller monitor crib bottle bottles food formula powder doll dolls toy "
    "toys elephant elephants lion lions tiger tigers bear bears bird birds panda pandas seal seals penguin penguins "
    "goat goats duck ducks owl fox wolf cat cats dog dogs horse horses cow kitten puppy animal animals rabbit monkey "
    "turtle dinosaur dragon deer shark whale connector plug socket voice choir anatomy power size sized bed "
    "cobra crab bee salmon club magazine rights shelf seat labor labour hospital school sign signs symbol logo icon "
    "novel fiction book books tree trees statue center centre home house hostel league team teams squad station car "
    "cars truck trucks van officer's uniform nature earth christmas board hood cover ware eater purse hole mask "
    "costume mannequin piece"
)
#: Forms of hair.
FORMS = _words("long short straight wavy curly sleek thick shiny silky smooth messy thin fine loose tousled voluminous")
#: Nouns for people by their hair.
HAIRED = frozenset(("blond", "blonde", "brunette", "redhead"))
#: An animal's name before these is a colour or a cut: "raven hair".
HAIR = _words("hair haired black")
ANIMALS = _words(
    "cat cats kitten kittens dog dogs puppy puppies horse horses bear bears lion lions lioness tiger elephant giraffe "
    "giraffes cow cows sheep lamb goat pig rabbit bunny fox wolf wolves bird birds eagle owl raven parrot penguin "
    "duck chicken fish shark whale dolphin monkey gorilla chimpanzee panda deer dragon unicorn snowman scarecrow "
    "robot robots android mannequin mannequins doll dolls teddy emoji sticker statue sculpture alien mouse hamster "
    "squirrel hedgehog frog turtle cubs llama alpaca zebra donkey camel pony hippo hippopotamus crocodile alligator snake lizard "
    "walrus ape chimp orangutan baboon lemur koala kangaroo sloth otter beaver badger raccoon leopard cheetah lynx hyena "
    "buffalo bison moose elk antelope rhino tortoise toad octopus snail spider bee butterfly beetle dinosaur monster gargoyle "
    "puppet pumpkin"
)

# --- what is said of people ---

#: Adjective -> age band.
AGES: dict[str, str] = {
    **dict.fromkeys(
        "young youthful teenage teenaged teen adolescent preteen prepubescent newborn @young".split(), "young"
    ),
    **dict.fromkeys(("@middle_aged",), "middle_aged"),
    **dict.fromkeys("elderly old older senior aged retired geriatric @senior".split(), "senior"),
}
#: Said of things as often as of people: not read before "portrait" or "face".
THINGLY_AGES = frozenset(("old", "older", "senior", "aged", "retired"))
GENDERS: dict[str, str] = {"male": "male", "female": "female"}

COLOURS: dict[str, str] = {"black": "black", "white": "white"}
_OUTSIDE = "outside"
#: Words for ancestry: level, or ``outside`` where it is none of the levels.
ANCESTRIES: dict[str, str] = {
    **COLOURS,
    **dict.fromkeys("asian asians @asian oriental".split(), "asian"),
    **dict.fromkeys("african africans afroamerican @black".split(), "black"),
    **dict.fromkeys("caucasian caucasians @white".split(), "white"),
    **dict.fromkeys(
        "latina latinas latino latinos latinx hispanic hispanics chicano chicana mestizo mestiza arab arabs "
        "arabian arabic indian indians indigenous aboriginal maori polynesian hawaiian samoan inuit romani "
        "roma kurdish berber jewish bedouin tuareg biracial multiracial mixed multiethnic interracial "
        "eurasian blasian mulatto desi dravidian @outside".split(),
        _OUTSIDE,
    ),
}
#: Nationalities: the level most people of it have, or ``outside``. A word for ancestry beside them decides.
NATIONS: dict[str, str] = {
    **dict.fromkeys(
        "chinese japanese korean koreans vietnamese thai filipino filipina filipinos indonesian malaysian "
        "mongolian taiwanese cambodian burmese laotian tibetan singaporean hmong bruneian timorese bhutanese javanese balinese "
        "khmer malay okinawan cantonese hongkonger pinoy pinay".split(),
        "asian",
    ),
    **dict.fromkeys(
        "nigerian kenyan ethiopian ghanaian somali senegalese ugandan congolese zulu maasai masai yoruba "
        "igbo hausa himba tanzanian rwandan zimbabwean cameroonian malian ivorian angolan gambian liberian "
        "sudanese eritrean zambian jamaican haitian botswanan namibian mozambican malawian burkinabe togolese beninese chadian "
        "gabonese burundian xhosa samburu fulani wolof ashanti barbadian bahamian".split(),
        "black",
    ),
    **dict.fromkeys(
        "european europeans scandinavian nordic swedish norwegian danish finnish icelandic german dutch "
        "belgian austrian swiss french italian british english irish scottish welsh polish russian ukrainian "
        "czech slovak hungarian romanian bulgarian serbian croatian slovenian lithuanian latvian estonian "
        "belarusian slavic greek moldovan macedonian bosnian albanian montenegrin flemish luxembourgish scots "
        "bavarian".split(),
        "white",
    ),
    **dict.fromkeys(
        "mexican brazilian cuban colombian peruvian argentinian chilean venezuelan bolivian ecuadorian "
        "guatemalan dominican puerto rican turkish iranian persian iraqi syrian lebanese egyptian moroccan "
        "algerian tunisian libyan saudi israeli palestinian jordanian yemeni afghan pakistani bangladeshi "
        "nepali nepalese uzbek kazakh spanish portuguese armenian georgian australian canadian caribbean "
        "@nation punjabi bengali tamil fijian tongan papuan guyanese surinamese trinidadian panamanian honduran salvadoran "
        "nicaraguan paraguayan uruguayan emirati kuwaiti qatari omani bahraini azerbaijani kyrgyz tajik turkmen uyghur "
        "sinhalese malagasy".split(),
        _OUTSIDE,
    ),
}
#: Countries, after "from": the level of their nation.
COUNTRIES: dict[str, str] = {
    **dict.fromkeys(
        "china japan korea vietnam thailand taiwan indonesia malaysia mongolia philippines".split(), "asian"
    ),
    **dict.fromkeys(
        "nigeria kenya ghana ethiopia senegal uganda somalia tanzania rwanda cameroon zimbabwe".split(), "black"
    ),
    **dict.fromkeys("sweden norway denmark finland iceland germany poland ireland scotland ukraine".split(), "white"),
}
#: Countrymen: who they are, and where from.
for _noun, _gender, _nation in (
    ("englishman", "male", "white"), ("englishwoman", "female", "white"), ("irishman", "male", "white"),
    ("irishwoman", "female", "white"), ("frenchman", "male", "white"), ("frenchwoman", "female", "white"),
    ("scotsman", "male", "white"), ("dutchman", "male", "white"), ("welshman", "male", "white"),
):  # fmt: skip
    PEOPLE[_noun] = {"gender": _gender, "ethnicity": _nation}
#: They say both, and are adjectives too ("Filipina nurse").
PEOPLE["filipina"] = {"gender": "female", "ethnicity": "asian"}
PEOPLE["filipino"] = {"ethnicity": "asian"}
#: Heads that ancestry is stated with: "of Asian descent", "ethnicity black".
DESCENT = _words("descent heritage ancestry origin ethnicity race nationality features")

#: What may stand between a colour and the person it is said of.
QUALITIES = _words(
    "beautiful pretty handsome attractive gorgeous stunning cute lovely elegant stylish fashionable glamorous sexy "
    "tall short slim thin slender skinny petite fat chubby plump curvy obese overweight muscular athletic fit strong "
    "buff burly stocky rugged happy sad cheerful joyful serious stern angry calm tired thoughtful pensive smiling "
    "laughing crying grinning american muslim christian buddhist hindu catholic trans transgender gay lesbian queer "
    "bisexual straight cis disabled blind deaf pregnant single married divorced homeless poor rich wealthy famous "
    "successful confident proud brave wise kind gentle friendly shy lonely working business college university "
    "high-school middle-class working-class professional amateur freelance bald bearded freckled tattooed shirtless "
    "naked nude topless masculine feminine androgynous nonbinary little small tiny big large average ordinary normal "
    "typical real realistic photorealistic modern contemporary adult mature british french brazilian cuban south mid "
    "well-dressed sophisticated chic cool hot charming graceful wise weathered wrinkled frail healthy blonde blond "
    "brunette redhead redheaded ginger police army navy fashion male female"
)
#: Other adjectives before a person.
_ADJECTIVE_ENDINGS = (
    "ed",
    "ing",
    "ful",
    "ous",
    "ive",
    "ish",
    "less",
    "ent",
    "ant",
    "ary",
    "al",
    "ic",
    "some",
    "ly",
    "like",
    "y",
)
_COLOURS_OF_THINGS = _words(
    "red blue green yellow orange purple pink brown grey gray golden silver dark light pale bright teal navy"
)


def adjective(word: str) -> bool:
    """Whether an unlisted word looks like an adjective or an adverb."""
    return word in _COLOURS_OF_THINGS or (
        len(word) > 4
        and word.endswith(_ADJECTIVE_ENDINGS)
        and word not in THINGS
        and word not in PEOPLE
        and word not in BODY
    )


def _slips(word: str) -> set[str]:
    """The word with a letter left out, doubled or two letters in the wrong order, but for the first."""
    inner = range(1, len(word) - 1)
    left_out = {word[:i] + word[i + 1 :] for i in inner}
    doubled = {word[:i] + word[i] + word[i:] for i in inner}
    swapped = {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(1, len(word) - 1)}
    return (left_out | doubled | swapped) - {word}


#: Slips of the keyboard in the words that matter most -> the word.
MISSPELT: dict[str, str] = {
    slip: word
    for word in "woman women young asian african american caucasian japanese chinese korean indian european female elderly teenager "
    "teenage gentleman mother father husband daughter grandmother grandfather beautiful portrait years middle glasses eyeglasses "
    "smiling hair blonde beard mustache lipstick earrings".split()
    for slip in _slips(word)
    if slip not in PEOPLE and slip not in _words("bead beads bard year ears har hairs blond her heir gasses")
} | {
    "gril": "girl",
    "womam": "woman",
    "caucasion": "caucasian",
    "beautifull": "beautiful",
    "yung": "young",
    "beared": "beard",
}

DETERMINERS = _words("a an the this that these those my our your some any another one each every single")
NUMBERS = _words("two three four five six seven eight nine ten several many few both multiple various dozen dozens")
PRONOUNS: dict[str, str] = {
    **dict.fromkeys("she her hers herself".split(), "female"), **dict.fromkeys("he him his himself".split(), "male"),
}  # fmt: skip
SUBJECTS = frozenset(("she", "he"))
COPULAS = _words("is was are were being am 's")
NEGATIONS = _words("no not non never without neither nor nobody none lacks lacking minus sans cannot hardly barely")
#: Before "as": the person is somebody else.
DISGUISED = _words("dressed disguised cosplaying costumed posing clothed masked up")
#: After these a person is not shown: made by, meant for, compared with.
ELSEWHERE = _words("by for about like resembling unlike via from")
FUNCTION = _words(
    "with in on at of to from by as and or & but who whose that which while when where near behind beside under over "
    "through into onto against across around next after before during is was are were has had have wears wear holds "
    "w/ looks looking stands sits walks runs plays wearing holding facing aged upon between above below without using "
    "inside outside the a an his her their its very"
)
#: "black-haired", "white-robed": the colour before these is none of the person.
COMPOUNDS = _words(
    "haired eyed skinned clad dressed faced bearded robed suited hooded"
    " gloved masked veiled coated shirted lipped nosed winged "
)
DEGREES = _words(
    "very really extremely quite so rather slightly most more visibly truly nearly almost about around over just now"
)


def describes(word: str) -> bool:
    """Whether a word is said of people before their noun."""
    return any(word in words for words in (AGES, ANCESTRIES, NATIONS, QUALITIES, GENDERS, DEGREES))
