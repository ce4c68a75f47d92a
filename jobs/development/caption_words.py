"""The vocabulary of the caption grammar: nouns and verbs by class with their forms, adjectives, prepositions, names."""

import re

from raypipe.language.verbs import PAST, PAST_PARTICIPLE


def _words(text: str) -> tuple[str, ...]:
    """Split a list; _ stands for the space inside an entry."""
    return tuple(text.split())


PEOPLE = _words("""
man woman boy girl child baby toddler kid person guy lady gentleman mother father mom dad son daughter sister brother
friend officer policeman policewoman player skier surfer rider cyclist biker skater skateboarder snowboarder pedestrian
worker soldier student teacher driver passenger dancer chef waiter waitress doctor nurse bride groom husband wife
tourist fisherman fireman firefighter farmer teenager athlete batter pitcher catcher umpire referee goalie coach guard
cook singer musician artist clown pilot sailor hiker climber runner jogger swimmer bicyclist motorcyclist vendor
shopper customer spectator fan businessman politician actor actress model thief robber hunter photographer adult
youth couple crowd family team
""")
ANIMALS = _words("""
dog cat horse cow sheep bird puppy kitten elephant giraffe zebra bear goat duck goose pigeon pony lamb calf camel
monkey lion tiger deer fish parrot owl eagle seagull swan chicken rooster pig rabbit squirrel fox wolf kangaroo panda
turtle frog bull donkey penguin ostrich pelican animal
""")
VEHICLES = _words("""
car truck bus van bike bicycle motorcycle motorbike scooter train boat taxi cab plane airplane jet helicopter suv
tractor trailer ambulance tram trolley ship ferry kayak canoe carriage cart wagon wheelchair jeep moped minivan
limousine vehicle stroller firetruck sailboat yacht
""")
THINGS = _words("""
ball frisbee kite racket racquet bat glove helmet umbrella backpack bag suitcase purse phone camera laptop computer
keyboard mouse monitor screen television remote book newspaper magazine paper letter box basket bucket bottle cup
glass mug plate bowl knife fork spoon pan pot tray table chair couch sofa bed bench desk lamp shelf cabinet drawer
refrigerator oven stove microwave sink toilet mirror window door curtain pillow blanket towel rug carpet clock vase
flower plant tree bush branch leaf rock stone stick pole rope chain fence wall gate sign flag banner poster picture
photo painting toy doll balloon candle guitar piano drum violin microphone skateboard surfboard snowboard sled ski
ladder hammer shovel broom hose hydrant meter mailbox cage cone brick tire wheel engine wing tail head hand arm leg
foot face eye ear nose mouth hair beard body back shoulder controller gun sword weapon cigarette wallet ticket
package parcel machine tool button wire cable pipe tent net goal hoop basketball football baseball volleyball
mask briefcase cane crutch bell light watch ring statue fountain sculpture dish cloth board map
""")
PLACES = _words("""
street road sidewalk crosswalk intersection highway bridge tunnel path trail field park garden yard beach ocean sea
lake river pond pool mountain hill slope forest desert sky city town village building house store shop market
mall restaurant cafe kitchen bathroom bedroom room office hallway corridor stair staircase escalator elevator
platform station airport runway harbor dock pier marina court stadium arena stage theater school classroom library
hospital church tower castle farm barn zoo enclosure pen playground lot garage driveway alley corner curb square
plaza lawn roof balcony porch deck counter floor ceiling entrance exit doorway campus rink track ramp lane subway
lobby gym background foreground distance middle side edge
""")
CLOTHES = _words("""
hat cap shirt suit tie jacket coat sweater hoodie dress skirt vest uniform costume scarf belt helmet apron wetsuit
shoe boot sandal glove sock t-shirt robe gown bikini outfit headband necklace bracelet watch mask wig ponytail
""")
CLOTHES_IN_PLURAL = _words("jeans shorts pants trousers sunglasses glasses goggles sneakers pajamas headphones clothes")
FOOD = _words("""
pizza sandwich hamburger burger hotdog cake donut doughnut cookie apple orange banana carrot salad steak egg taco
burrito pastry pie muffin bagel pancake waffle snack meal breakfast lunch dinner sausage potato tomato onion pepper
lemon strawberry grape melon pretzel vegetable fruit topping dessert
""")
MASS = _words("""
water snow grass sand food bread cheese meat rice coffee tea beer wine milk juice fruit mud dirt ice smoke fire
traffic furniture sun moon wind weather hair luggage clothing equipment graffiti wood metal plastic concrete rain fog
sunlight soup pasta broccoli bacon chocolate cream hay gravel baggage jewelry soda
""")
# Nouns with the spelling of a verb.
ACTIONS = _words("""
walk run ride jump trick swim dive race game match fight dance play show party performance meeting kiss hug smile
wave turn drive stop break look rest pose swing slide push pull kick hit catch throw serve shot cut set drink cook
stand point cross park dress face stretch call text cry climb crash fly spin bite nap bath shower work
visit trip tour view ride step stroll chat talk sale fire drop picture crossing landing
""")
COMPOUNDS = tuple(
    tuple(entry.split("_"))
    for entry in _words("""
police_officer tennis_player tennis_racket tennis_court tennis_ball baseball_player baseball_bat baseball_field
soccer_player soccer_ball soccer_field fire_hydrant fire_truck traffic_light street_light street_sign stop_sign
cell_phone teddy_bear parking_lot parking_meter parking_garage swimming_pool living_room dining_room dining_table
cutting_board washing_machine shopping_cart shopping_mall shopping_center sleeping_bag train_station bus_stop
train_track park_bench coffee_table coffee_cup wine_glass hot_dog city_street dirt_road ski_slope ski_lift
skate_park skateboard_ramp surf_board snow_board motor_cycle security_guard security_camera construction_worker
construction_site skating_rink polar_bear mountain_bike dirt_bike race_car race_track race_horse birthday_cake
computer_screen computer_mouse video_game game_controller bath_tub hotel_room hospital_bed train_car school_bus
tour_bus passenger_train passenger_plane jet_plane landing_strip boxing_ring climbing_wall walking_stick
walking_path running_track running_shoe riding_helmet fishing_boat fishing_pole fishing_rod sewing_machine
ironing_board diving_board jumping_rope crossing_guard waiting_room building_site dance_floor cross_walk
football_player football_field basketball_player basketball_court ice_cream ice_rink
""")
)
GROUPS = _words("group bunch pair row line crowd herd flock pile stack bowl plate box team set bag basket couple lot")
PICTURES = _words("picture photo photograph image drawing painting view shot portrait illustration")
_DOUBLED = _words("hit sit set put cut get let shut spit split run swim win dig spin")
IRREGULAR_PLURALS = dict(
    entry.split(":")
    for entry in _words("""
man:men woman:women child:children person:people gentleman:gentlemen policeman:policemen policewoman:policewomen
fisherman:fishermen fireman:firemen businessman:businessmen wife:wives knife:knives leaf:leaves shelf:shelves
foot:feet goose:geese mouse:mice calf:calves thief:thieves wolf:wolves sheep:sheep deer:deer fish:fish loaf:loaves
scarf:scarves
""")
)

# Verbs that take no object. A star: the last letter is doubled before -ed and -ing.
INTRANSITIVE = _words("""
walk run* jump sit* stand sleep lie fall ride swim* dance sing smile laugh cry talk speak wait look stare gaze work
play fight rest relax lean crouch kneel squat* crawl climb jog* skate ski skateboard snowboard surf sail fly drive
hike travel march race slide spin* float hover glide land stop* turn move stroll wander roam graze bark hang lounge
perch pose stretch yawn bend bow wave shout yell scream chat* argue wrestle box crash slip* trip* stumble arrive leave
appear gather stay live grow shine rain snow cross exercise practice paddle row compete perform lurk hide escape
flee rush hurry dash sprint skip* hop* leap dive splash swing flip* roll tumble twirl step* pass approach bike cycle
camp fish shop* cook eat drink read study play point nod* whistle clap* cheer protest loiter trot* gallop peer sneeze
cough breathe speed swerve skid* fade glow happen shake shiver tremble wrestle merge
""")
TRANSITIVE = _words("""
ride hold carry push pull throw catch kick hit chase follow watch lift drop* eat drink read write wear feed pet* wash
brush clean fix repair paint cut* chop* cook bake prepare serve pour make build open close lock break steal grab* take
give bring hand pass toss swing play use drive park load unload move drag* roll walk lead hug* kiss touch stroke
scratch bite lick sniff attack punch slap* shoot point aim wave fly cross climb enter leave exit board jump
approach face help teach show sell buy pick collect gather photograph film record check examine inspect tie wrap* pack
open fold hang place put* set* adjust remove throw shovel mow sweep sew decorate cover fill empty blow light smoke
hide find lose drop* spill stir* slice peel share enjoy celebrate perform attempt try block guard patrol* stop* arrest
rescue search direct operate steer pedal balance juggle bounce dribble spin* tackle herd train groom milk shear hug*
greet salute visit tow lay kick smash destroy vandalize spray knock hurl drag* see have need want like love
remove squeeze polish sharpen measure weigh text call answer type surf sail race
""")
# Bare past participles of captions: "a car parked on the street".
PLACED = _words("""
park seat dress cover fill surround line top* stack pile place display arrange decorate load attach tie chain lock
mount set* put* gather crowd position locate stop* pack paint make build wrap* equip* illuminate light reflect frame
fence hang stuff damage wreck abandon flood strand bundle plug* bury wreathe tile plaster sprinkle garnish cut*
prepare serve leave break turn perch
""")
# What stands between a verb of talking or seeing and its clause or adjective.
LINKING = _words("look appear seem")
ADVERBS = _words("""
slowly quickly quietly carefully happily calmly suddenly playfully gently barely nearly together alone outside inside
away nearby downhill forward backward ahead now still also just intently closely proudly casually gracefully
""")
BEFORE_VERB = _words("slowly quickly quietly carefully happily calmly suddenly gently casually proudly still just also")
ADJECTIVES = _words("""
red blue green yellow orange purple pink brown black white gray grey silver golden big large small little tiny huge
tall short long old young new vintage modern wooden metal plastic empty full open dirty clean wet dry hot cold bright
dark heavy light colorful beautiful pretty cute happy sad angry busy crowded quiet narrow wide steep snowy grassy
sandy rocky sunny cloudy rainy muddy dusty foggy shiny striped furry fluffy fat thin strong elderly male female asian
double single electric public open close high low round square flat fresh ripe raw delicious various different
similar antique professional military urban rural blurry sharp alone asleep ready famous strange suspicious violent
dangerous crowded bearded tattooed shirtless barefoot upset tired drunk homeless
left right upper lower front rear main next stray wild tame concrete brick
""")
PREPOSITIONS = _words("""
in on at by with near under over behind beside above below between through across along around against down up past
toward towards into onto inside outside off from of beneath underneath among for during without after before beyond
""")
PLACE_PREPOSITIONS = _words("in on at near by down across along through in on into onto around behind over under up")
PARTICLES = _words("up down off out over away back around along by")
QUANTIFIERS = (
    ("several", "JJ"),
    ("many", "JJ"),
    ("some", "DT"),
    ("multiple", "JJ"),
    ("various", "JJ"),
    ("other", "JJ"),
)
NUMBERS = _words("two three four five six seven eight nine ten twelve 2 3 4 5 10 20 30 100")
NAMES = _words("""
John Mary London Paris Chicago Amsterdam America Boston James Sarah David Anna Tokyo Texas Bob Santa Mickey Nike Harley
""")
PRONOUNS = (("he", "is"), ("she", "is"), ("it", "is"), ("they", "are"), ("we", "are"), ("you", "are"), ("I", "am"))
FOREIGN = """
un homme marche dans la rue|une femme et un chien|un hombre montando en bicicleta|una mujer con un perro
ein mann fährt auf der straße|eine frau mit einem roten auto|zwei männer kämpfen|un uomo cammina per strada
una donna con un cane nel parco|um homem andando de bicicleta|duas pessoas na praia|el coche rojo en la calle
les enfants jouent dans le parc|la niña está sentada en la mesa|der hund läuft im park|een man op een fiets
man på cykel|il gatto è sul tavolo|deux hommes se battent|el perro corre por el campo|die katze schläft auf dem sofa
""".strip().replace("\n", "|")


def tagged(text: str) -> tuple[list[tuple[str, str]], ...]:
    """Return phrases written as "at/IN night/NN | by/IN car/NN": (word, tag) tokens of each."""
    return tuple(
        [(word, tag) for word, _, tag in (token.rpartition("/") for token in phrase.split())]
        for phrase in text.split("|")
    )


DETERMINERS = tagged(
    "a/DT|the/DT|an/DT|his/PRP$|her/PRP$|its/PRP$|their/PRP$|one/CD|another/DT|this/DT|that/DT|each/DT|no/DT|my/PRP$"
)
DETERMINER_WEIGHTS = (60, 18, 5, 3, 2, 1, 2, 2, 2, 1, 1, 1, 1, 1)
PLURAL_DETERMINERS = tagged("the/DT|some/DT|these/DT|those/DT|his/PRP$|their/PRP$|both/DT|all/DT|no/DT")
INDEFINITE = tagged(
    """someone/NN|somebody/NN|everyone/NN|one/CD|another/DT|one/CD of/IN the/DT men/NNS|some/DT of/IN the/DT people/NNS
    |one/CD of/IN the/DT women/NNS|no/DT one/NN|each/DT of/IN the/DT dogs/NNS"""
)
COMPLEX_PREPOSITIONS = tagged(
    """next/JJ to/TO|in/IN front/NN of/IN|on/IN top/NN of/IN|out/IN of/IN|close/RB to/TO|on/IN the/DT side/NN of/IN
    |in/IN the/DT middle/NN of/IN|at/IN the/DT edge/NN of/IN|at/IN the/DT top/NN of/IN|in/IN the/DT back/NN of/IN
    |away/RB from/IN|on/IN the/DT back/NN of/IN|inside/RB of/IN|up/RB to/TO|down/RB to/TO|over/RB to/TO|to/TO|to/TO"""
)
FIXED_PHRASES = tagged(
    """at/IN night/NN|in/IN the/DT background/NN|on/IN the/DT left/NN|on/IN the/DT right/NN|in/IN the/DT rain/NN
    |in/IN the/DT snow/NN|on/IN a/DT cloudy/JJ day/NN|at/IN sunset/NN|during/IN the/DT day/NN|to/TO the/DT right/NN
    |in/IN the/DT back/NN|in/IN the/DT air/NN|in/IN the/DT dark/NN|on/IN the/DT ground/NN|from/IN above/IN
    |in/IN his/PRP$ hand/NN|in/IN their/PRP$ hands/NNS|on/IN his/PRP$ head/NN|at/IN home/NN|to/TO work/NN
    |to/TO school/NN|in/IN public/NN|each/DT other/JJ|at/IN the/DT same/JJ time/NN|in/IN the/DT summer/NN|here/RB
    |there/RB|on/IN a/DT sunny/JJ day/NN"""
)
QUESTIONS = tagged(
    """what/WP is/VBZ the/DT man/NN doing/VBG|who/WP is/VBZ riding/VBG the/DT bike/NN|where/WRB is/VBZ the/DT dog/NN
    |what/WP are/VBP they/PRP wearing/VBG|how/WRB many/JJ people/NNS are/VBP there/RB
    |what/WP color/NN is/VBZ the/DT car/NN|why/WRB is/VBZ she/PRP running/VBG
    |is/VBZ a/DT man/NN riding/VBG a/DT bike/NN|is/VBZ the/DT woman/NN smiling/VBG
    |are/VBP two/CD men/NNS fighting/VBG|does/VBZ a/DT dog/NN run/VB|did/VBD the/DT boy/NN fall/VB
    |can/MD he/PRP swim/VB"""
)
SIGNS = tagged("that/WDT says/VBZ|that/WDT reads/VBZ|saying/VBG|reading/VBG")


def plural(noun: str) -> str:
    """Return the plural of a noun."""
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    return third_person(noun)


def third_person(verb: str) -> str:
    """Return the form with -s, of a verb or of a noun."""
    irregular = {"have": "has", "do": "does", "be": "is", "ski": "skis", "taxi": "taxis"}
    if verb in irregular:
        return irregular[verb]
    if verb.endswith(("s", "sh", "ch", "x", "z")) or verb in ("go", "echo", "tomato", "potato", "volcano"):
        return f"{verb}es"
    return f"{verb[:-1]}ies" if re.search("[^aeiou]y$", verb) else f"{verb}s"


def gerund(verb: str) -> str:
    """Return the form with -ing of a verb; a star after it doubles its last letter."""
    base = verb.rstrip("*")
    if verb.endswith("*"):
        return f"{base}{base[-1]}ing"
    if base.endswith("ie"):
        return f"{base[:-2]}ying"
    if base in _DOUBLED:
        return f"{base}{base[-1]}ing"
    return f"{base[:-1]}ing" if base.endswith("e") and not base.endswith(("ee", "oe", "ye")) else f"{base}ing"


def past(verb: str) -> str:
    """Return the past of a verb; a star after it doubles its last letter."""
    return PAST.get(verb.rstrip("*")) or _regular_past(verb)


def past_participle(verb: str) -> str:
    """Return the past participle of a verb; a star after it doubles its last letter."""
    return PAST_PARTICIPLE.get(verb.rstrip("*")) or _regular_past(verb)


def _regular_past(verb: str) -> str:
    base = verb.rstrip("*")
    if verb.endswith("*"):
        return f"{base}{base[-1]}ed"
    if re.search("[^aeiou]y$", base):
        return f"{base[:-1]}ied"
    return f"{base}d" if base.endswith("e") else f"{base}ed"
